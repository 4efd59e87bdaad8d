"""Weights that ZeRO-3 has partitioned, as DeepSpeed leaves them; with DeepSpeed itself: tests/engines."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations import deepspeed

from crossdistill.flops import matmul_parameters
from crossdistill.ops.sharded import full_shape, full_tensor, is_partitioned, loaded_whole, own_part
from crossdistill.ops.trace import first_weight_not_finite


def partition(parameter: nn.Parameter, rank: int, num_processes: int) -> None:
    """Leave a parameter empty, with a process's part of it; what fills up the last part is never written."""
    whole = parameter.detach().flatten()
    size = -(-len(whole) // num_processes)
    part = torch.full((size,), torch.nan)
    own = whole[rank * size : (rank + 1) * size]
    part[: len(own)] = own
    parameter.ds_shape, parameter.ds_numel = parameter.shape, parameter.numel()
    parameter.ds_id, parameter.ds_tensor, parameter.ds_process_group = 0, part, rank
    parameter.data = torch.empty(0)


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rank in a process group is the group."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda group: group)


@pytest.mark.parametrize("num_processes", [2, 3, 7])
def test_parts_are_the_whole_without_what_fills_them_up(ranks, num_processes):
    parts = []
    for rank in range(num_processes):
        parameter = nn.Parameter(torch.arange(10.0).view(2, 5))
        partition(parameter, rank, num_processes)
        assert full_shape(parameter) == (2, 5)
        parts.append(own_part(parameter))
    assert torch.cat(parts).tolist() == list(range(10))


def test_nan_in_a_part_is_found_and_in_what_fills_it_up_is_not(ranks):
    model = nn.Linear(5, 1, bias=False)
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    for rank, found in enumerate([("weight", torch.float32), None]):
        twin = nn.Linear(5, 1, bias=False)
        twin.load_state_dict(model.state_dict())
        partition(twin.weight, rank, 2)
        assert first_weight_not_finite(twin) == found


def test_a_gathered_weight_is_read_as_it_is(ranks):
    parameter = nn.Parameter(torch.ones(2, 5))
    partition(parameter, 1, 2)
    parameter.data = torch.zeros(2, 5)
    assert own_part(parameter).tolist() == torch.zeros(2, 5).tolist()
    assert full_tensor(parameter) is parameter


def test_an_empty_weight_is_never_taken_for_the_whole():
    parameter = nn.Parameter(torch.ones(2, 5))
    partition(parameter, 0, 2)
    with pytest.raises(AssertionError, match="in its forward pass alone"):
        full_tensor(parameter)


@pytest.mark.parametrize("is_tied", [False, True])
def test_parameters_are_counted_alike(is_tied):
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, tie_word_embeddings=is_tied, **sizes))
    expected = matmul_parameters(model)
    assert not is_partitioned(model)
    for parameter in model.parameters():
        partition(parameter, 0, 2)
    assert is_partitioned(model)
    assert matmul_parameters(model) == expected


def test_a_teacher_is_loaded_whole_and_the_student_is_not(monkeypatch):
    class Zero3:
        def is_zero3(self) -> bool:
            return True

    config = Zero3()
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", lambda: config)
    with pytest.raises(ZeroDivisionError), loaded_whole():
        assert not deepspeed.is_deepspeed_zero3_enabled()
        1 / 0  # noqa: B018
    assert deepspeed.is_deepspeed_zero3_enabled()
