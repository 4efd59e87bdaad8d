"""A run is held to the coverage that its pair of tokenizers promises.

The corpus of ``crossdistill inspect`` says which share of the student's bytes this teacher can supervise. A run that
stays below it loses responses for another reason (the teacher's context, its template, text that it cannot spell):
it warns, or stops after a checkpoint from which it can be resumed.
"""

import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

from transformers import TrainerCallback

from crossdistill.align import Coverage, DropReason
from crossdistill.errors import InputError
from crossdistill.inspection import minimum_coverage, promised_coverage
from crossdistill.tokens import ByteVocab

REACTIONS = ("stop", "warn", "ignore")
MIN_ROLLOUTS = 4
MIN_BYTES = 10_000
"""A run is judged from so many batches of rollouts and so many sampled bytes on."""

_LOGGER = logging.getLogger("crossdistill")
_WAYS_OUT = {
    DropReason.UNENCODABLE: "take a teacher whose tokenizer spells such text",
    DropReason.TEACHER_CONTEXT: "lower max_completion_length, drop long prompts or take a teacher of longer context",
    DropReason.TEACHER_TEMPLATE: "write prompts that the teacher's chat template takes",
    DropReason.NON_FINITE: "check the teacher's weights and its dtype (teacher_model_init_kwargs)",
}


class LowCoverageError(InputError):
    """The run stopped after a checkpoint, because the teacher supervised less than was promised."""


def check_settings(min_coverage: float | None, low_coverage: str) -> None:
    """Raises InputError for settings that mean nothing."""
    if min_coverage is not None and not 0 <= min_coverage <= 1:
        raise InputError(f"min_coverage is a share of the sampled bytes, from 0 to 1, not {min_coverage}.")
    if low_coverage not in REACTIONS:
        raise InputError(f"low_coverage must be one of {', '.join(REACTIONS)}, not {low_coverage!r}.")


class CoverageGuard(TrainerCallback):
    """Compares the coverage of the run so far with what it must reach, between two batches of rollouts.

    All processes ask for the coverage of all of them, and so decide alike.

    Args:
        student, teacher: their vocabularies.
        coverage: gives the coverage of the run so far, of all processes together; every process must ask.
        min_coverage: share of the bytes to reach; None for what the corpus promises less a tolerance.
        low_coverage: "stop", "warn" or "ignore".
        every: optimisation steps on one batch of rollouts; a checkpoint falls between two batches.
        tell: what a warning is given to.
    """

    def __init__(
        self,
        student: ByteVocab,
        teacher: ByteVocab,
        coverage: Callable[[], Coverage],
        min_coverage: float | None = None,
        low_coverage: str = "stop",
        every: int = 1,
        tell: Callable[[str], None] = _LOGGER.warning,
    ):
        self._vocabs = student, teacher
        self._coverage = coverage
        self._chosen = min_coverage
        self._reaction = low_coverage
        self._every = every
        self._tell = tell
        self._found: str | None = None

    @classmethod
    def of(cls, trainer: Any) -> "CoverageGuard":
        """The guard of a trainer, by its settings."""
        args = trainer.args
        return cls(
            trainer.student_vocab,
            trainer.teacher.vocab,
            lambda: trainer.total_ledger().coverage,
            args.min_coverage,
            args.low_coverage,
            args.num_iterations,
        )

    @cached_property
    def promised(self) -> float:
        """Share of the bytes of the shipped corpus that this teacher can supervise."""
        return promised_coverage(*self._vocabs)

    @property
    def minimum(self) -> float:
        """Share of the sampled bytes that the run must reach."""
        return minimum_coverage(self.promised) if self._chosen is None else self._chosen

    def as_dict(self) -> dict[str, Any]:
        """What ``run.json`` says of it, in its ``coverage`` entry."""
        return {"promised": self.promised, "minimum": self.minimum, "low_coverage": self._reaction}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        rollouts, inside = divmod(state.global_step, self._every)
        if inside or rollouts < MIN_ROLLOUTS or self._reaction == "ignore" or self._found is not None:
            return
        coverage = self._coverage()
        if coverage.sampled.bytes < MIN_BYTES or coverage.share >= self.minimum:
            return
        self._found = self._sentence(coverage, state.global_step)
        if self._reaction == "stop":
            control.should_save = True
            control.should_training_stop = True
        elif state.is_world_process_zero:
            self._tell(self._found)

    def check(self) -> None:
        """After training: raises LowCoverageError where the run was stopped."""
        if self._found is not None and self._reaction == "stop":
            raise LowCoverageError(self._found)

    def _sentence(self, coverage: Coverage, step: int) -> str:
        lost = sorted(coverage.dropped.items(), key=lambda item: -item[1].bytes)
        reasons = ", ".join(f"{reason.replace('_', ' ')} {count.bytes:,}" for reason, count in lost if count.bytes)
        ways_out = [_WAYS_OUT[reason] for reason, count in lost if count.bytes and reason in _WAYS_OUT]
        origin = (
            f"what this pair promises ({self.promised:.1%}, see crossdistill inspect) less a tolerance"
            if self._chosen is None
            else "min_coverage"
        )
        stops = self._reaction == "stop"
        what = "the run stopped after a checkpoint at" if stops else "at"
        accept = 'low_coverage = "warn", and resume' if stops else 'low_coverage = "ignore"'
        return (
            f"{what} step {step}: the teacher supervised {coverage.share:.1%} of the {coverage.sampled.bytes:,} bytes "
            f"sampled so far, less than {self.minimum:.1%}, {origin}. Bytes lost: {reasons}. "
            f"{_capitalised('; '.join([*ways_out, f'or accept it with a lower min_coverage or {accept}']))}."
        )


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
