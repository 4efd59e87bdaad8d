"""Weights of which an engine keeps a part in each process: they are made whole, sized and read here alone.

FSDP2 makes parameters DTensors, of which each process holds a part. Inside the forward pass of the unit that a
parameter belongs to it is whole; the output layer may be a unit of its own, whose forward is never called here.

ZeRO-3 leaves parameters empty, with their part in ``ds_tensor``, from the moment that transformers loads the model.
Inside the engine's forward pass a parameter is whole as soon as its module is asked for it, until the pass is over.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def full_tensor(value: Tensor) -> Tensor:
    """The whole parameter if an engine has sharded it, else the parameter itself; differentiable.

    Every process must call it, and gets the gradient of its own samples alone: as in the engine, these are averaged.

    Example:
        >>> full_tensor(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if not hasattr(value, "full_tensor"):
        assert value.numel() == math.prod(full_shape(value)), "ZeRO-3 has parameters in its forward pass alone"
        return value
    from torch.distributed.tensor import Partial

    sharded: Any = value
    whole: Tensor = sharded.full_tensor(grad_placements=[Partial("avg")] * sharded.device_mesh.ndim)
    return whole


def full_shape(value: Tensor) -> tuple[int, ...]:
    """The shape of the whole parameter.

    Example:
        >>> full_shape(torch.ones(2, 3))
        (2, 3)
    """
    return tuple(getattr(value, "ds_shape", value.shape))  # a DTensor's shape is that of the whole


def own_part(value: Tensor) -> Tensor:
    """The part of a parameter that this process has: all of it unless an engine has sharded it.

    Example:
        >>> own_part(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if value.numel() != math.prod(full_shape(value)):
        return _own_partition(value)
    part: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return part


def _own_partition(value: Any) -> Tensor:
    """Of a parameter of ZeRO-3: without the padding, which is never written."""
    partition: Tensor = value.ds_tensor
    first = torch.distributed.get_rank(value.ds_process_group) * partition.numel()
    return partition[: max(0, value.ds_numel - first)]


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside this context the module can be called and its parameters read outside of an engine's forward pass.

    Every process must enter. FSDP2 gathers by itself as a unit is called.

    Args:
        module: the student, or a part of it; changes of its parameters are lost.
    """
    if not is_partitioned(module):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(module.parameters()):
        yield


def is_partitioned(module: nn.Module) -> bool:
    """Whether ZeRO-3 has partitioned the module's parameters.

    Example:
        >>> is_partitioned(nn.Linear(2, 2))
        False
    """
    return any(hasattr(parameter, "ds_id") for parameter in module.parameters())


@contextmanager
def loaded_whole() -> Iterator[None]:
    """Inside this context transformers loads models whole, although ZeRO-3 is to partition the student."""
    from transformers.integrations import deepspeed

    known, deepspeed._hf_deepspeed_config_weak_ref = deepspeed._hf_deepspeed_config_weak_ref, None
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = known
