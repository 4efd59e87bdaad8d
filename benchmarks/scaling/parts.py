"""Seconds of training, teacher and weights, from FLOPs, bytes and the share of the hardware that is reached."""

from dataclasses import dataclass
from functools import cache

from benchmarks.scaling.hardware import H100, USUAL, Gpu, Reached
from benchmarks.scaling.models import Model
from benchmarks.scaling.workload import Workload

STATE_BYTES = 16  # of a parameter in training: bf16 weight and gradient, float32 weight and two moments of AdamW
PASSES = 3  # forward, and a backward pass of twice that; the utilisation leaves out what is recomputed


@dataclass(frozen=True)
class Gpus:
    """How many GPUs do what. A model takes as many GPUs of a replica as its weights need."""

    trainer: int
    rollout: int
    teacher: int

    @property
    def total(self) -> int:
        return self.trainer + self.rollout + self.teacher


def gpus_of_replica(model: Model, gpu: Gpu = H100, room: float = 0.2) -> int:
    """The fewest GPUs, a power of two, that hold a served model and leave a share of their memory for the cache."""
    count = 1
    while count * gpu.memory * (1 - room) < model.bytes_served:
        count *= 2
    return count


@cache
def training_seconds(work: Workload, gpus: int, gpu: Gpu = H100, reached: Reached = USUAL) -> float:
    """Of one optimisation step; activation checkpointing is in the utilisation that is reached.

    Raises:
        ValueError: the state of the training does not fit, at 80 % of the memory.
    """
    if work.student.parameters * STATE_BYTES > 0.8 * gpus * gpu.memory:
        raise ValueError(f"{work.student.name} does not train on {gpus} GPUs")
    flops = sum(work.student.forward_flops(work.prompt_tokens + length) for length in work.lengths)
    return PASSES * flops / (gpus * gpu.flops * reached.training)


@cache
def teacher_seconds(work: Workload, gpus: int, gpu: Gpu = H100, reached: Reached = USUAL) -> float:
    """Of reading all prompts and responses once; replicas share them.

    Raises:
        ValueError: fewer GPUs than one replica takes.
    """
    replica = gpus_of_replica(work.teacher, gpu)
    if gpus < replica:
        raise ValueError(f"{work.teacher.name} needs {replica} GPUs")
    used = gpus // replica * replica
    ratio = work.tokens_per_token
    flops = sum(work.teacher.forward_flops(ratio * (work.prompt_tokens + length)) for length in work.lengths)
    return flops / (used * gpu.flops * reached.prefill)


def sync_seconds(model: Model, gpu: Gpu = H100, reached: Reached = USUAL) -> float:
    """Of sending all weights in bf16 from the trainer's first GPU, to all replicas at once."""
    return 2 * model.parameters / (gpu.network * reached.network)
