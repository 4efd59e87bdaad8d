"""The ways that are measured: fused kernels of others stood in for, tiles, and the pair of random weights."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from benchmarks.dense.cell import Setting, Size
from benchmarks.gpu.installed import CUT_CROSS_ENTROPY, LIGER_CROSS_ENTROPY, LIGER_JSD, VLLM, why_not
from benchmarks.gpu.losses import TILED, Ways, tiles_times
from benchmarks.gpu.pair import made_up_tokenizer, saved_pair
from benchmarks.gpu.plan import TILED_WAYS
from benchmarks.gpu.rate import bare_rate
from crossdistill import ByteVocab, ops
from crossdistill.ops import LMHead, pieces
from crossdistill.ops.pieces import TILE_ELEMENTS, LogitTiles

SIZE = Size.parse("24:1200/8:1200/12")
SETTING = Setting("cpu", "float32", True, 1024, 0, 1, 1.0)
CLOSE = 1e-4


def log_probs(states, weight):
    return (states @ weight.T).log_softmax(-1)


class Jsd:
    """LigerFusedLinearJSD, from its documentation."""

    def __init__(self, jsd_beta):
        assert jsd_beta == 0.5

    def __call__(self, ours, weight, theirs, their_weight, labels):
        assert labels is None
        student, teacher = log_probs(ours, weight), log_probs(theirs, their_weight)
        mixture = ((student.exp() + teacher.exp()) / 2).log()
        sides = [(side.exp() * (side - mixture)).sum(-1) for side in (student, teacher)]
        return (sum(sides) / 2).mean()


class CrossEntropy:
    """LigerFusedLinearCrossEntropyLoss, from its documentation."""

    def __init__(self, reduction):
        assert reduction == "sum"

    def __call__(self, weight, states, ids):
        return -log_probs(states, weight).gather(1, ids[:, None]).sum()


def cut(states, weight, ids, reduction, filter_eps):
    """cut_cross_entropy's linear_cross_entropy, from its documentation."""
    assert (reduction, filter_eps) == ("sum", "auto")
    return CrossEntropy("sum")(weight, states, ids)


@pytest.fixture
def kernels(monkeypatch):
    liger = ModuleType("liger_kernel.transformers")
    liger.LigerFusedLinearJSD, liger.LigerFusedLinearCrossEntropyLoss = Jsd, CrossEntropy
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", liger)
    monkeypatch.setitem(sys.modules, "cut_cross_entropy", SimpleNamespace(linear_cross_entropy=cut))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("way", [LIGER_JSD, LIGER_CROSS_ENTROPY, CUT_CROSS_ENTROPY])
def test_kernels_of_others_do_the_same_work_as_the_way_of_ours_beside_them(way):
    found = Ways(SIZE, SETTING).measure(way)
    assert found["status"] == "ok"
    assert max(found["agreement"].values()) < CLOSE
    students, teachers = 24 * 1200 * 8, 24 * 1200 * 12
    assert found["product_flop"] == 2 * (3 * students + (way == LIGER_JSD) * teachers)


def test_why_a_cell_cannot_be_measured(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.installed.find_spec", lambda name: None)
    assert why_not(LIGER_JSD, "cuda") == "liger_kernel is not installed: pip install --group gpu-benchmark"
    assert why_not(VLLM, "cpu") == "vllm is not installed: pip install 'crossdistill[vllm]'"
    assert why_not("simct", "cuda") is None
    monkeypatch.setattr("benchmarks.gpu.installed.find_spec", lambda name: object())
    assert why_not(CUT_CROSS_ENTROPY, "cuda") is None
    assert why_not(CUT_CROSS_ENTROPY, "cpu") == "its Triton kernels need a GPU"


def test_what_does_not_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.losses.available_bytes", lambda device: 1000)
    found = Ways(SIZE, SETTING).measure("trl_gold_plain")
    assert (found["status"], found["computed_bytes_at_least"]) == ("does not fit", 3 * 24 * 2400 * 4)


def test_tiles_hold_as_many_logits_as_they_are_told(monkeypatch):
    heights = []
    raw = LogitTiles.raw

    def watched(tiles, hidden):
        heights.append(len(hidden))
        return raw(tiles, hidden)

    monkeypatch.setattr(LogitTiles, "raw", watched)
    hidden, head, ids = torch.ones(10, 2), LMHead(torch.zeros(4, 2)), torch.zeros(10, dtype=torch.long)
    with tiles_times(12 / TILE_ELEMENTS), torch.no_grad():
        ops.token_logprobs(hidden, head, ids)
    assert heights == [3, 3, 3, 1]
    heights.clear()
    with torch.no_grad():
        ops.token_logprobs(hidden, head, ids)
    assert heights == [10]


@pytest.mark.parametrize("way", TILED_WAYS)
def test_tiles_change_no_result_and_no_count_of_products(way, monkeypatch):
    memory, empty = [], torch.empty

    def watched(*args, **kwargs):
        memory.append(empty(*args, **kwargs))
        return memory[-1]

    ways, found = Ways(SIZE, SETTING), []
    for tiled in ("", f"{TILED}{4800 / TILE_ELEMENTS}"):
        with monkeypatch.context() as patched:
            patched.setattr(pieces.torch, "empty", watched)
            found.append(ways.measure(way + tiled) | {"largest": max(one.numel() for one in memory)})
        memory.clear()
    assert found[0]["product_flop"] == found[1]["product_flop"] > 0
    assert found[0]["largest"] > 4 * found[1]["largest"]
    assert max((found[1]["agreement"] or {"": 0.0}).values()) < CLOSE


def test_the_bare_rate_is_that_of_its_products(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.rate.seconds_of", lambda call, device: 0.25 * (len(call()) > 0))
    found = bare_rate(SIZE, SETTING, (4, 16))
    per_token = 2 * 1200 * (3 * 8 + 12)
    assert {height: row["rate"] for height, row in found["heights"].items()} == {4: 4 * per_token, 16: 16 * per_token}
    assert found["rate"] == 16 * per_token


def test_tokenizers_share_entries_and_read_anything():
    ours, theirs = (made_up_tokenizer(size, 600, seed) for seed, size in enumerate((1000, 800)))
    text = "any text, naïve 你好\n"
    for tokenizer, size in ((ours, 1000), (theirs, 800)):
        vocab = ByteVocab.from_tokenizer(tokenizer, size)
        assert vocab.decode(vocab.encode(text).ids) == text.encode()
    shared = ours.get_vocab().keys() & theirs.get_vocab().keys()
    assert 600 <= len(shared) < 700


def test_a_pair_is_built_once(tmp_path):
    pair = saved_pair(tmp_path, "cpu", small=True)
    assert len(AutoTokenizer.from_pretrained(pair.student)) == 1200
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(before) == 2
    assert saved_pair(tmp_path, "cpu", small=True) == pair
    assert {path: path.stat().st_mtime_ns for path in before} == before
