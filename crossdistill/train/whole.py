"""The whole student in one process: as it is, or gathered from the parts that an engine keeps in each process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from trl.models.utils import unwrap_model_for_generation

from crossdistill.errors import InputError
from crossdistill.ops.sharded import is_partitioned


def check_whole(trainer: Any) -> None:
    """Check that the student can be gathered.

    Raises:
        InputError: FSDP1 has it.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if trainer.is_fsdp_enabled and plugin.fsdp_version == 1:
        raise InputError("eval_tasks cannot gather a student of FSDP1: set fsdp_version to 2, or leave them out.")


@contextmanager
def whole_student(trainer: Any) -> Iterator[Any]:
    """Inside this context each process by itself can sample from the student. Every process must enter.

    The device of each process must have room for the whole student, if an engine shards it.

    Args:
        trainer: whose training has begun.
    """
    student = trainer.accelerator.unwrap_model(trainer.model)
    if is_partitioned(student):
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as gathered:
            yield gathered
    elif trainer.is_fsdp_enabled:
        with _unsharded(student, trainer.accelerator.state.fsdp_plugin.reshard_after_forward):
            yield student
    else:
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
    yield
    for unit in units:
        unit.reshard()
        unit.set_reshard_after_forward(reshards, recurse=False)
