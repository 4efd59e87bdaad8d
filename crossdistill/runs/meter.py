"""What training has cost so far, without the evaluations in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from crossdistill.costs import Part
from crossdistill.runs.accuracy import Spent
from crossdistill.runs.resumable_sft import ResumableSFTTrainer
from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.monitor.usage import Usage


def spent_by(total: Usage, step: Part) -> Spent:
    """What a run has spent.

    Args:
        total: of all processes.
        step: the part in which the student is trained.
    """
    return Spent(total.costs.tokens.get(step, 0), total.costs.total_flops, total.seconds)


class Meter(Protocol):
    """Measures what training costs."""

    def spent(self) -> Spent:
        """What it has cost so far; every process must call it."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside this context is no training."""


class DistillationMeter:
    """The meter of a distillation run."""

    def __init__(self, trainer: CrossTokenizerTrainer):
        self._trainer = trainer

    def spent(self) -> Spent:
        return spent_by(self._trainer.total_usage(), Part.STUDENT_STEP)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._trainer.usage.paused(), self._trainer.distiller.timers.paused():
            yield


class SFTMeter:
    """The meter of an SFT run.

    Args:
        trainer: of the run.
        flops_before: that a teacher has spent on the responses.
    """

    def __init__(self, trainer: ResumableSFTTrainer, flops_before: int = 0):
        self._trainer = trainer
        self._flops_before = flops_before

    def spent(self) -> Spent:
        spent = spent_by(self._trainer.usage.total(), Part.SFT_STEP)
        return replace(spent, flops=spent.flops + self._flops_before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._trainer.usage.paused():
            yield
