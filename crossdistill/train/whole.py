"""The whole student in one process: as it is, or gathered from the parts that FSDP2 keeps in each process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.integrations import is_deepspeed_zero3_enabled

from crossdistill.errors import InputError


def check_whole(trainer: Any) -> None:
    """Check that the student can be gathered.

    Raises:
        InputError: FSDP1 has it.
    """
    plugin: Any = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if trainer.is_fsdp_enabled and plugin.fsdp_version == 1:
        raise InputError("eval_tasks cannot gather a student of FSDP1: set fsdp_version to 2, or leave them out.")


def check_not_zero3() -> None:
    """Check, before weights are read, that ZeRO-3 is not to have the student.

    Its hooks wait for the other processes in a forward pass of one.

    Raises:
        InputError: it is.
    """
    if is_deepspeed_zero3_enabled():
        raise InputError(
            "eval_tasks need the whole student in one process, and ZeRO-3 keeps a part of it in each: train with DDP, "
            "FSDP2 or ZeRO-2, or leave them out and run `crossdistill eval` on the model."
        )


@contextmanager
def whole_student(trainer: Any) -> Iterator[Any]:
    """Inside this context each process by itself can sample from the student. Every process must enter.

    Under FSDP2 the device of each process must have room for the whole student.

    Args:
        trainer: whose training has begun.
    """
    student = trainer.accelerator.unwrap_model(trainer.model)
    if not trainer.is_fsdp_enabled:
        yield student
        return
    with _unsharded(student, trainer.accelerator.state.fsdp_plugin.reshard_after_forward):
        yield student


@contextmanager
def _unsharded(student: nn.Module, reshards: bool) -> Iterator[None]:
    """Inside this context the weights stay whole between forward passes, which FSDP2 then does without other processes.

    Args:
        student: that FSDP2 shards.
        reshards: whether units let go of their weights after a forward pass in training.
    """
    from torch.distributed.fsdp import FSDPModule

    units = [module for module in student.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:  # a checkpoint is saved after an evaluation that failed
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(reshards, recurse=False)
