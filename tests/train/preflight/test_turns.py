"""Processes that sample together call no tools."""

from types import SimpleNamespace

import pytest
import torch

from crossdistill.findings import FindingError
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.preflight import turns
from crossdistill.train.preflight.turns import asks_for_sharding, check_turns
from tests.train import tool_use as use

BY_ITSELF = {"world_size": 2, "use_vllm": False, "vllm_mode": "colocate", "vllm_tensor_parallel_size": 1}


@pytest.mark.parametrize(
    ("options", "is_sharded", "engine"),
    [
        ({}, True, "FSDP or ZeRO-3"),
        ({"use_vllm": True, "vllm_mode": "server"}, False, "a vLLM server"),
        ({"use_vllm": True, "vllm_tensor_parallel_size": 2}, True, "vllm_tensor_parallel_size = 2"),
    ],
)
def test_refused(options, is_sharded, engine):
    args = SimpleNamespace(**{**BY_ITSELF, **options})
    with pytest.raises(FindingError, match=f"2 processes cannot call tools with {engine}: they sample together"):
        check_turns([use.add], args, is_sharded)
    check_turns(None, args, is_sharded)
    check_turns([], args, is_sharded)
    args.world_size = 1
    check_turns([use.add], args, is_sharded)


def test_each_process_by_itself():
    check_turns([use.add], SimpleNamespace(**BY_ITSELF), False)
    check_turns([use.add], SimpleNamespace(**{**BY_ITSELF, "use_vllm": True}), True)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fsdp_is_asked_for(monkeypatch, device):
    """On a CPU accelerate trains with DDP all the same."""
    args = SimpleNamespace(fsdp=None, device=torch.device(device))
    assert not asks_for_sharding(args)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert asks_for_sharding(args) == (device == "cuda")


def test_zero3_is_asked_for(monkeypatch):
    monkeypatch.setattr(turns, "is_deepspeed_zero3_enabled", lambda: True)
    assert asks_for_sharding(SimpleNamespace(fsdp=None, device=torch.device("cpu")))


def test_a_run_is_refused_before_weights_are_read(pair, output, monkeypatch):
    monkeypatch.setattr(CrossTokenizerConfig, "world_size", 2)
    monkeypatch.setattr("crossdistill.train.trainer.asks_for_sharding", lambda args: True)
    monkeypatch.setattr("crossdistill.train.trainer.Setup.of", lambda *_: pytest.fail("the models were read"))
    with pytest.raises(FindingError, match="cannot call tools with FSDP or ZeRO-3"):
        use.trainer_with_tools(pair, output, monkeypatch)


def test_fsdp_that_the_engine_alone_knows_of(pair, output, monkeypatch):
    """As accelerate's own plug-ins turn it on."""
    monkeypatch.setattr(CrossTokenizerConfig, "world_size", 2)
    seen = []
    monkeypatch.setattr("crossdistill.train.trainer.check_turns", lambda tools, args, is_sharded: seen.append(tools))
    use.trainer_with_tools(pair, output, monkeypatch, prompts=[use.QUESTION] * 8)
    assert seen == [[use.add], [use.add]]
