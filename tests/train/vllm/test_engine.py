"""The student's weights reach a server by a folder, and what fails on the way is one sentence. Without vLLM."""

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from trl.generation import vllm_client, vllm_generation
from trl.trainer import distillation_trainer

from crossdistill.errors import InputError, OutOfSpaceError, RolloutServerError
from crossdistill.train.vllm import engine as engine_module
from crossdistill.train.vllm import weight_files
from crossdistill.train.vllm.engine import RolloutEngine, engine_for_trl
from tests.models import Pair
from tests.train.harness import load
from tests.train.test_full_disk import FULL, fails_at
from tests.train.vllm.fake_server import FakeServer, serving


@pytest.fixture(autouse=True)
def vllm_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's client itself needs nothing of it. Nor does it wait between tries."""
    for module in (vllm_client, vllm_generation):
        monkeypatch.setattr(module, "is_vllm_available", lambda *_: True)
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)


@pytest.fixture
def server() -> Any:
    with serving(FakeServer()) as running:
        yield running


def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def engine_of(model: Any, url: str, folder: Any, **options: Any) -> RolloutEngine:
    """An engine that sends weights through a folder; by NCCL if it is None."""
    return RolloutEngine(
        None if folder is None else str(folder),
        model=model,
        accelerator=accelerator(),
        processing_class=None,
        mode="server",
        server_base_url=url,
        server_timeout=0,
        **options,
    )


def test_a_server_loads_the_weights_of_each_step(pair: Pair, server, tmp_path):
    model = load(pair.student)
    engine = engine_of(model, server.url, tmp_path / "weights")
    for step in range(2):
        with torch.no_grad():
            model.lm_head.weight.add_(step)
        engine.sync_weights()
        expected = {name: value.data for name, value in model.named_parameters()}
        assert server.weights[step].keys() == expected.keys()
        assert all(torch.equal(server.weights[step][name], expected[name]) for name in expected)
    assert server.posted == ["/collective_rpc", "/reset_prefix_cache"] * 2
    assert list((tmp_path / "weights").iterdir()) == []


def test_adapters_arrive_merged_and_are_taken_out_again(pair: Pair, server, tmp_path):
    lora = LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    plain, adapted = load(pair.student), get_peft_model(load(pair.student), lora)
    before = {name: value.clone() for name, value in adapted.named_parameters()}
    engine_of(adapted, server.url, tmp_path).sync_weights()
    for name, value in adapted.named_parameters():
        torch.testing.assert_close(value.data, before[name].data)
    merged = adapted.merge_and_unload()
    assert server.weights[0].keys() == dict(plain.named_parameters()).keys()
    for name, value in merged.named_parameters():
        torch.testing.assert_close(server.weights[0][name], value.data)
    moved = [name for name, value in plain.named_parameters() if not torch.equal(server.weights[0][name], value)]
    assert all(re.search("q_proj|up_proj", name) for name in moved) and len(moved) == 2


def test_samples_and_their_log_probabilities(pair: Pair, server, tmp_path):
    engine = engine_of(load(pair.student), server.url, tmp_path)
    prompts, completions, logprobs, ids = engine.generate([[1, 2], [3]], None, num_generations=1)
    assert (prompts, completions, logprobs, ids) == ([[1, 2], [3]], [[7], [7]], [[[-1.0]], [[-1.0]]], [[[7]], [[7]]])


# ---- failures ---------------------------------------------------------------------------------------------------


BY_NCCL = [False, True]


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """TRL's client joins no group and broadcasts nothing; the names of the weights that it would have sent."""
    sent: list[str] = []

    def send(client: Any, metadata: Any, named_params: Any) -> None:
        client._start_weight_update()
        sent.extend(name for name, _ in named_params)

    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", lambda client, device: None)
    monkeypatch.setattr(vllm_client.VLLMClient, "update_named_params", send)
    return sent


@pytest.mark.usefixtures("nccl")
@pytest.mark.parametrize("by_nccl", BY_NCCL)
@pytest.mark.parametrize(
    ("server", "is_tied", "message"),
    [
        (FakeServer("raw_logprobs"), False, r"returns raw_logprobs, which .*--logprobs-mode processed_logprobs\.$"),
        (FakeServer(has_dev_mode=False), False, r"Restart it with `VLLM_SERVER_DEV_MODE=1`"),
        (FakeServer(device="cpu"), True, r"runs on a CPU, where vLLM packs the student's head apart .* to colocate"),
    ],
)
def test_a_server_that_cannot_sample_for_the_run(pair: Pair, tmp_path, server, is_tied, message, by_nccl):
    model = load(pair.student)
    model.config.tie_word_embeddings = is_tied
    with serving(server), pytest.raises(InputError, match=message) as told:
        engine_of(model, server.url, None if by_nccl else tmp_path)
    assert server.url in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("by_nccl", BY_NCCL)
def test_a_server_that_is_not_there(pair: Pair, tmp_path, by_nccl):
    with serving(FakeServer()) as server:
        pass
    with pytest.raises(InputError, match=rf"can't be reached at {server.url} after 0 seconds"):
        engine_of(load(pair.student), server.url, None if by_nccl else tmp_path)


def test_a_server_that_takes_no_weights_by_nccl(pair: Pair, server):
    with pytest.raises(InputError, match=r"has no weight-transfer engine\. Restart it with"):
        engine_of(load(pair.student), server.url, None)


def test_weights_by_nccl(pair: Pair, server, nccl):
    model = load(pair.student)
    engine = engine_of(model, server.url, None)
    engine.sync_weights()
    assert nccl == [name for name, _ in model.named_parameters()]
    assert server.posted == ["/start_weight_update", "/reset_prefix_cache"]


@pytest.mark.usefixtures("nccl")
@pytest.mark.parametrize("path", ["/start_weight_update", "/reset_prefix_cache"])
def test_a_server_that_does_not_take_weights_by_nccl(pair: Pair, server, path):
    model = load(pair.student)
    engine = engine_of(model, server.url, None)
    engine.sync_weights()
    gathered = []

    def params() -> Any:
        for name, value in model.named_parameters():
            gathered.append(name)
            yield name, value.data

    engine._iter_named_params = params  # type: ignore[method-assign]
    server.failures[path] = "out of memory"
    with pytest.raises(RolloutServerError, match=rf"\({path}\) failed with status 500 \(out of memory\): see its log"):
        engine.sync_weights()
    assert len(gathered) == len(list(model.named_parameters()))  # other processes gather as many


def test_a_server_that_does_not_load_the_weights(pair: Pair, server, tmp_path):
    engine = engine_of(load(pair.student), server.url, tmp_path)
    server.failures["/collective_rpc"] = '{"error":\n {"message": "no such folder"}}'
    sentence = (
        rf"^vLLM's server at {server.url} \(/collective_rpc\) failed with status 500 "
        rf'\(\{{"error": \{{"message": "no such folder"\}}\}}\): see its log\. It may hold half of the weights now: '
        rf"see that it sees {tmp_path} under this path, and start it again\.$"
    )
    with pytest.raises(RolloutServerError, match=sentence):
        engine.sync_weights()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nccl")
@pytest.mark.parametrize("by_nccl", BY_NCCL)
def test_a_server_that_fails_to_sample(pair: Pair, server, tmp_path, by_nccl):
    engine = engine_of(load(pair.student), server.url, None if by_nccl else tmp_path)
    server.failures["/v1/completions"] = "x" * 1000
    with pytest.raises(RolloutServerError, match=r"\(/v1/completions\) failed with status 500 \(x{300} \.\.\.\): see"):
        engine.generate([[1]], None, num_generations=1)
    server.failures.clear()
    assert engine.generate([[1]], None, num_generations=1)[1] == [[7]]  # a failure is raised once


def test_a_server_that_went_away(pair: Pair, tmp_path):
    with serving(FakeServer()) as server:
        engine = engine_of(load(pair.student), server.url, tmp_path)
    with pytest.raises(RolloutServerError, match=r"\(/v1/completions\) does not answer \(.*refused"):
        engine.generate([[1]], None, num_generations=1)


def test_a_full_disk(pair: Pair, server, tmp_path, monkeypatch):
    model = load(pair.student)
    engine = engine_of(model, server.url, tmp_path)
    seen = []

    def params() -> Any:
        for name, value in model.named_parameters():
            seen.append(name)
            yield name, value.data

    engine._iter_named_params = params  # type: ignore[method-assign]
    monkeypatch.setattr(engine_module, "weight_files", partial(weight_files.weight_files, shard_bytes=1))
    monkeypatch.setattr(weight_files, "save_file", fails_at(1, weight_files.save_file, FULL))
    with pytest.raises(OutOfSpaceError, match="no space is left on the disk of"):
        engine.sync_weights()
    assert len(seen) == len(list(model.named_parameters()))  # other processes gather as many
    assert list(tmp_path.iterdir()) == [] and server.posted == []


# ---- in the same process ----------------------------------------------------------------------------------------


class FakeLLM:
    """vLLM in the same process."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.weights: dict[str, torch.Tensor] = {}

    def collective_rpc(self, method: str, kwargs: Any) -> None:
        self.calls.append(method)
        self.weights = dict(kwargs["weights_iterator"])

    def apply_model(self, function: Any) -> None:
        assert function is engine_module.pack_tied_heads
        self.calls.append("pack")

    def reset_prefix_cache(self) -> None:
        self.calls.append("reset")


def test_on_a_cpu_all_weights_are_loaded_anew(pair: Pair, monkeypatch):
    llm = FakeLLM()
    monkeypatch.setattr(RolloutEngine, "_init_vllm", lambda self: setattr(self, "llm", llm))
    model = load(pair.student)
    engine = RolloutEngine(model=model, accelerator=accelerator(), processing_class=None, mode="colocate")
    engine.sync_weights()
    assert llm.calls == ["reload_weights", "pack", "reset"]
    assert all(torch.equal(llm.weights[name], value) for name, value in model.named_parameters())
    assert not any(llm.weights[name].data_ptr() == value.data_ptr() for name, value in model.named_parameters())


@pytest.mark.parametrize(("mode", "device"), [("colocate", "cuda"), ("server", "cuda")])
def test_elsewhere_trl_sends_them(pair: Pair, monkeypatch, mode, device):
    monkeypatch.setattr(RolloutEngine, "_init_vllm", lambda self: None)
    sent: list[str] = []
    monkeypatch.setattr(vllm_generation.VLLMGeneration, "sync_weights", lambda self: sent.append(self.mode))
    where = SimpleNamespace(device=torch.device(device), is_main_process=True, state=None)
    monkeypatch.setattr(vllm_generation, "DistributedBackend", lambda accelerator: None)
    RolloutEngine(model=load(pair.student), accelerator=where, processing_class=None, mode=mode).sync_weights()
    assert sent == [mode]


def test_trl_makes_the_engine_only_while_the_trainer_is_made():
    before = distillation_trainer.VLLMGeneration
    with pytest.raises(KeyError), engine_for_trl("folder"):
        assert distillation_trainer.VLLMGeneration is not before
        raise KeyError
    assert distillation_trainer.VLLMGeneration is before is vllm_generation.VLLMGeneration
