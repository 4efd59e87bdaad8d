"""What fits where: published sizes, measured peaks, and every way against the estimate of a run."""

import multiprocessing

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from benchmarks.dense.memory import peak_of
from crossdistill.distill.student import collate, supervised_states
from crossdistill.errors import InputError
from crossdistill.inspection import memory
from crossdistill.inspection.memory import Engine, peaks
from crossdistill.inspection.model_size import ModelSize
from crossdistill.ops import token_logprobs
from crossdistill.runs.config import RunConfig
from crossdistill.runs.fitting import LORA, Devices, Pair, Work, weights_of
from crossdistill.runs.fitting_tables import length_table, memory_table, split
from crossdistill.runs.forecast import Sizes, forecast, setting_of, without_weights
from crossdistill.train.launch import Launch
from tests.cli.harness import run
from tests.snippets import ROOT
from tools.memory_tables import PAGE, tables

PUBLISHED = ROOT / "benchmarks" / "published"
WORK = Work(prompt_tokens=16, response_tokens=48, responses=2)
FACTOR = 1.25
"""Between an estimate and a measured peak, either way."""


# numbers of the models' pages on the hub: those of all tensors, a tied head counted once
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-1.7b", 1_720_574_976),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-32b", 32_762_123_264),
        ("gpt-oss-20b", 20_914_757_184),
    ],
)
def test_weights_of_published_models(name, params):
    assert ModelSize.of(without_weights("student", str(PUBLISHED / name))).params == params


def test_experts_widen_a_layer():
    found = ModelSize.of(without_weights("teacher", str(PUBLISHED / "gpt-oss-20b")))
    assert found.intermediate == 4 * 2880


def test_a_way_is_what_its_run_would_take(pair):
    """The table and `doctor --run` compute the same."""
    (way,) = (
        way
        for way in Pair(pair.student, pair.teacher).ways(Devices(8, 1), WORK)
        if way.engine is Engine.FSDP and not way.is_lora
    )
    train = {"per_device_train_batch_size": 2, "max_completion_length": 48}
    config = RunConfig(student=pair.student, teacher=pair.teacher, dataset="prompts.jsonl", train=train)
    parts = forecast(config, Launch(Engine.FSDP, Engine.FSDP, 8, precision="bf16"), 16).parts
    assert way.parts == parts
    assert way.peak == max(peaks(parts).values())


def test_engines_that_shard_hold_less_and_a_served_teacher_nothing(pair):
    found = {(way.is_lora, way.engine): way for way in Pair(pair.student, pair.teacher).ways(Devices(8, 1), WORK)}
    assert len(found) == 8
    whole = found[False, Engine.DDP].of("student: weights")
    assert found[False, Engine.FSDP].of("student: weights") == whole / 8
    assert found[True, Engine.DDP].of("student: optimizer") < found[False, Engine.DDP].of("student: optimizer")
    for way in found.values():
        assert way.peak - way.served >= way.of("teacher: weights") > 0
        assert way.with_vllm > way.of("student: weights")


def test_longest_responses(pair):
    """Those that both contexts have room for, and none without memory."""
    found = Pair(pair.student, pair.teacher)
    for gib, length in {1e-6: None, 10: 64}.items():  # the student's context has 128 tokens, of which a prompt takes 16
        for way in found.ways(Devices(1, gib), WORK):
            assert {*way.longest.values()} == {length}


def test_longer_responses_fit_without_the_teacher():
    """And if activations are recomputed."""
    (way, *_) = Pair(*(str(PUBLISHED / "qwen3-0.6b") for _ in range(2))).ways(Devices(1, 24), Work())
    assert (way.longest[True, False] or 0) <= (way.longest[True, True] or 0)
    assert (way.longest[False, True] or 0) <= (way.longest[True, True] or 0)
    assert way.longest[True, True] > (way.longest[False, False] or 0)


def test_tables(pair):
    devices = Devices(1, 1)
    found = list(Pair(pair.student, pair.teacher).ways(devices, WORK))
    memory, lengths = memory_table(found, devices), length_table(found)
    assert [row[:2] for row in memory[1:]] == [["all weights", "one process"], ["LoRA", "one process"]]
    assert not any(cell.startswith("(") for cell in memory[1][2:])
    assert all(len(row) == len(memory[0]) for row in memory)
    assert all(len(row) == len(lengths[0]) for row in lengths)
    peaks_alone, parts = split(memory)
    assert [row[:2] for row in parts] == [row[:2] for row in peaks_alone]
    assert [one + other[2:] for one, other in zip(peaks_alone, parts, strict=True)] == memory
    too_small = memory_table(found, Devices(1, 0.001))
    assert all(cell.startswith("(") for cell in too_small[1][2:5])


def test_what_files_say_of_weights(pair):
    config = AutoConfig.from_pretrained(pair.student)
    size = ModelSize.of(AutoModelForCausalLM.from_config(config))
    assert weights_of(pair.student) == f"its files hold {size.params:,} numbers (F32)"
    assert "quantised" in weights_of(str(PUBLISHED / "gpt-oss-20b"))
    assert weights_of(str(PUBLISHED / "qwen3-8b")) == ""


def test_the_command(pair):
    result = run("doctor", pair.student, pair.teacher, "--gpus", "2", "--memory", "80", "--response-tokens", "64")
    assert result.code == 0, result.err
    assert result.err == ""
    assert "…" not in result.out
    assert "GiB on each of 2 with 80 GiB, 8 responses of 64 tokens" in result.out
    assert "longest response that fits" in result.out
    assert all(name in result.out for name in ("DDP", "FSDP2", "ZeRO-2", "ZeRO-3", "LoRA", "teacher served"))


def test_longer_than_a_model_reads(pair):
    models = Pair(pair.student, pair.teacher)
    assert models.shortfall(WORK) == ""
    assert "reads at most" in models.shortfall(Work(prompt_tokens=2**20, response_tokens=48))


def test_memory_is_asked_of_a_pair(pair):
    assert "--memory is a question about a pair" in run("doctor", "--memory", "80").message
    message = run("doctor", pair.student, pair.teacher, "--memory", "80", "--run", "run.toml").message
    assert "--memory is a question about a pair" in message


def test_a_model_that_is_not_there(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no waiting for a network
    with pytest.raises(InputError, match="cannot be read"):
        Pair("no/such-model", "no/other-model")


@pytest.mark.slow
def test_the_tables_of_the_page():
    text = (ROOT / PAGE).read_text()
    for table in tables():
        assert table in text, "run: python tools/memory_tables.py"


@pytest.mark.slow
@pytest.mark.parametrize("is_lora", [False, True])
def test_the_measured_peak_of_a_run(is_lora, monkeypatch):
    """Weights, optimizer, gradients and activations together, in a process of its own that gives freed memory back."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**16))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        estimated, measured = pool.apply(_estimated_and_measured, (is_lora,))
    assert 1 / FACTOR < estimated / measured < FACTOR


def _estimated_and_measured(is_lora):
    torch.set_num_threads(1)
    memory.TILES = 1  # of a CPU; this process ends with the measurement
    config = LlamaConfig(
        **{"vocab_size": 8000, "hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 8},
        **{"num_attention_heads": 6, "num_key_value_heads": 2, "architectures": ["LlamaForCausalLM"]},
    )
    _train(config, is_lora, 8)  # what libraries take at their first call is not counted
    with peak_of("cpu") as peak:
        _train(config, is_lora, 1024)
    return _estimated(config, is_lora, 1024), peak.extra_bytes


def _train(config, is_lora, length):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    if is_lora:
        model = get_peft_model(model, LoraConfig(**LORA))
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    for _ in range(2):
        inputs = collate([[1] * 4], [[2] * (length - 4)], 0)
        mask = inputs["completion_mask"]
        states = supervised_states(model, inputs, mask)
        token_logprobs(*states, inputs["completion_ids"][mask]).logprobs.sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def _estimated(config, is_lora, length):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        train = {"per_device_train_batch_size": 1, "max_completion_length": length - 4, "bf16": False}
        kept = {"activation_checkpointing": False, "use_vllm": True}
        lora = LORA if is_lora else None
        teacher = "http://localhost:1"
        run = RunConfig(
            student=folder, teacher=teacher, teacher_tokenizer=folder, dataset="x", train=train | kept, lora=lora
        )
        setting = setting_of(run, Launch(Engine.ONE, Engine.ONE, is_on_cpu=True), 4)
        return max(peaks(Sizes.of(run).parts(setting)).values())
