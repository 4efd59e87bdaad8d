"""A run is held to the coverage that its pair of tokenizers promises.

The corpus of ``crossdistill inspect`` says which share of the student's bytes this teacher can supervise. A run that
stays below it loses responses for another reason (the teacher's context, its template, text that it cannot spell):
it warns, or stops after a checkpoint from which it can be resumed. It is judged by what it sampled of late: a collapse
after thousands of steps is seen as soon as one at the start, and a resumed run is not held to what was lost before.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from transformers import TrainerCallback

from crossdistill.align import Coverage, DropReason
from crossdistill.align.coverage import Count
from crossdistill.errors import InputError
from crossdistill.inspection import expected_coverage, minimum_coverage
from crossdistill.tokens import ByteVocab

REACTIONS = ("stop", "warn", "ignore")
MIN_ROLLOUTS = 4
MIN_BYTES = 10_000
"""A run is judged by its latest batches of rollouts: at least so many, with so many sampled bytes or tokens."""
MIN_TOKEN_SHARE = 0.5
"""Share of the sampled tokens to supervise. Control tokens have no bytes, so that a share of bytes cannot miss them."""

_LOGGER = logging.getLogger("crossdistill")
_WAYS_OUT = {
    DropReason.SPECIAL_TOKEN: "name control tokens that are words of a response in text_tokens",
    DropReason.UNENCODABLE: "take a teacher whose tokenizer spells such text",
    DropReason.TEACHER_CONTEXT: "lower max_completion_length, drop long prompts or take a teacher of longer context",
    DropReason.TEACHER_TEMPLATE: "write prompts that the teacher's chat template takes",
    DropReason.TEACHER_REFUSED: "see in the log why the teacher's server refuses samples",
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
    """Compares the coverage of the latest batches of rollouts with what a run must reach, between two of them.

    All processes ask for the coverage of all of them, and so decide alike.

    Args:
        student: its vocabulary. teachers: theirs; of several the one that promises least counts.
        coverage: gives the coverage of the run so far, of all processes together; every process must ask.
        min_coverage: share of the bytes to reach; None for what the corpus promises less a tolerance.
        low_coverage: "stop", "warn" or "ignore".
        every: optimisation steps on one batch of rollouts; a checkpoint falls between two batches.
        tell: what a warning is given to.
    """

    def __init__(
        self,
        student: ByteVocab,
        teachers: Sequence[ByteVocab],
        coverage: Callable[[], Coverage],
        min_coverage: float | None = None,
        low_coverage: str = "stop",
        every: int = 1,
        tell: Callable[[str], None] = _LOGGER.warning,
    ):
        self._student = student
        self._teachers = teachers
        self._coverage = coverage
        self._chosen = min_coverage
        self._reaction = low_coverage
        self._every = every
        self._tell = tell
        self._found: str | None = None
        self._seen = Coverage()
        self._window: deque[Coverage] = deque()

    @classmethod
    def of(cls, trainer: Any) -> "CoverageGuard":
        """The guard of a trainer, by its settings."""
        args = trainer.args
        return cls(
            trainer.student_vocab,
            [teacher.vocab for teacher in trainer.teachers.values()],
            lambda: trainer.total_usage().coverage,
            args.min_coverage,
            args.low_coverage,
            args.num_iterations,
        )

    @cached_property
    def promised(self) -> float:
        """Share of the bytes of the shipped corpus that this teacher can supervise."""
        return min(expected_coverage(self._student, teacher) for teacher in self._teachers)

    @property
    def minimum(self) -> float:
        """Share of the sampled bytes that the run must reach."""
        return minimum_coverage(self.promised) if self._chosen is None else self._chosen

    def as_dict(self) -> dict[str, Any]:
        """What ``run.json`` says of it, in its ``coverage`` entry."""
        return {"promised": self.promised, "minimum": self.minimum, "low_coverage": self._reaction}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What an earlier part of the run sampled is not judged again."""
        self._found = None
        self._window.clear()
        if self._reaction != "ignore":
            self._seen = self._coverage()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every or self._reaction == "ignore" or self._found is not None:
            return
        recent = self._recent()
        if len(self._window) < MIN_ROLLOUTS or not _is_enough(recent) or not self._is_low(recent):
            return
        self._found = self._sentence(recent, state.global_step)
        if self._reaction == "stop":
            control.should_save = True
            control.should_training_stop = True
        elif state.is_world_process_zero:
            self._tell(self._found)

    def _recent(self) -> Coverage:
        """Of the latest batches of rollouts, no more of them than a judgement takes."""
        now = self._coverage()
        self._window.append(now.since(self._seen))
        self._seen = now
        recent = _sum(self._window)
        while len(self._window) > MIN_ROLLOUTS:
            without = recent.since(self._window[0])
            if not _is_enough(without):
                break
            self._window.popleft()
            recent = without
        return recent

    def _is_low(self, recent: Coverage) -> bool:
        return recent.share < self.minimum or recent.token_share < self._minimum_of_tokens

    @property
    def _minimum_of_tokens(self) -> float:
        """No more than is asked of the bytes, so that a lower min_coverage accepts both."""
        return min(MIN_TOKEN_SHARE, self.minimum)

    def check(self) -> None:
        """After training: raises LowCoverageError where the run was stopped."""
        if self._found is not None and self._reaction == "stop":
            raise LowCoverageError(self._found)

    def _sentence(self, recent: Coverage, step: int) -> str:
        of_bytes = recent.share < self.minimum
        unit, size = ("bytes", _num_bytes) if of_bytes else ("tokens", _num_tokens)
        share, minimum = (recent.share, self.minimum) if of_bytes else (recent.token_share, self._minimum_of_tokens)
        lost = sorted(recent.dropped.items(), key=lambda item: -size(item[1]))
        reasons = [reason for reason, count in lost if size(count) and (of_bytes or reason != DropReason.STOP_TOKEN)]
        counted = ", ".join(f"{reason.replace('_', ' ')} {size(recent.dropped[reason]):,}" for reason in reasons)
        what = "the run stopped after a checkpoint at" if self._reaction == "stop" else "at"
        return (
            f"{what} step {step}: the teacher supervised {share:.1%} of the last {size(recent.sampled):,} {unit} "
            f"sampled, less than {minimum:.1%}, {self._origin(of_bytes)}. {unit.capitalize()} lost: {counted}. "
            f"{self._advice([_WAYS_OUT[reason] for reason in reasons if reason in _WAYS_OUT])}"
        )

    def _origin(self, of_bytes: bool) -> str:
        if self._chosen is not None and (of_bytes or self.minimum < MIN_TOKEN_SHARE):
            return "min_coverage"
        if of_bytes or self.minimum < MIN_TOKEN_SHARE:
            return f"what this pair promises ({self.promised:.1%}, see crossdistill inspect) less a tolerance"
        return "the least share of the tokens"

    def _advice(self, ways_out: list[str]) -> str:
        """A resumed run keeps its settings but for those of its coverage; others take a new one."""
        quiet = "warn" if self._reaction == "stop" else "ignore"
        accept = f'a lower min_coverage or low_coverage = "{quiet}" accepts it'
        if not ways_out:
            return f"Resume once the cause is removed; {accept}."
        return f"For a new run, {'; '.join(ways_out)}. To go on with this one, resume: {accept}."


def _sum(coverages: Iterable[Coverage]) -> Coverage:
    total = Coverage()
    for coverage in coverages:
        total.add(coverage)
    return total


def _is_enough(coverage: Coverage) -> bool:
    return max(coverage.sampled.bytes, coverage.sampled.tokens) >= MIN_BYTES


def _num_bytes(count: Count) -> int:
    return count.bytes


def _num_tokens(count: Count) -> int:
    return count.tokens
