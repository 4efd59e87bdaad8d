"""Weights of which an engine keeps a part in each process: they are made whole, sized and read here alone.

FSDP2 makes parameters DTensors, of which each process holds a part. Inside the forward pass of the unit that a
parameter belongs to it is whole; the output layer may be a unit of its own, whose forward is never called here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def full_tensor(value: Tensor) -> Tensor:
    """The whole parameter if an engine has sharded it, else the parameter itself; differentiable.

    Every process must call it, and gets the gradient of its own samples alone: as in the engine, these are averaged.

    Example:
        >>> import torch
        >>> full_tensor(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if not hasattr(value, "full_tensor"):
        return value
    from torch.distributed.tensor import Partial

    sharded: Any = value
    whole: Tensor = sharded.full_tensor(grad_placements=[Partial("avg")] * sharded.device_mesh.ndim)
    return whole


def full_shape(value: Tensor) -> tuple[int, ...]:
    """The shape of the whole parameter.

    Example:
        >>> import torch
        >>> full_shape(torch.ones(2, 3))
        (2, 3)
    """
    return tuple(value.shape)  # a DTensor's is that of the whole


def own_part(value: Tensor) -> Tensor:
    """The part of a parameter that this process has: all of it unless an engine has sharded it.

    Example:
        >>> import torch
        >>> own_part(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    part: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return part


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside this context the module can be called and its parameters read outside of an engine's forward pass.

    Every process must enter. FSDP2 gathers by itself as a unit is called.

    Args:
        module: the student, or a part of it.
    """
    yield
