"""Coverage guard: a run is held to the coverage that is expected of its pair of tokenizers.

The corpus of ``crossdistill inspect`` says which share of the student's bytes this teacher can supervise. A run that
stays below it loses responses for another reason (the teacher's context, its template, text that it cannot encode): it
warns, or stops after a checkpoint from which it can be resumed. It is judged by its latest rollouts, so a collapse
after thousands of steps is seen as soon as one at the start, and a resumed run is not held to what was lost before.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
"""A run is judged by its latest batches of rollouts: at least MIN_ROLLOUTS, with MIN_BYTES sampled bytes or tokens."""
MIN_TOKEN_SHARE = 0.5
"""Share of the sampled tokens to supervise. Control tokens have no bytes, so a share of bytes cannot miss them."""

_LOGGER = logging.getLogger("crossdistill")
_WAYS_OUT = {
    DropReason.SPECIAL_TOKEN: "name control tokens that are words of a response in text_tokens",
    DropReason.UNENCODABLE: "use a teacher whose tokenizer can encode such text",
    DropReason.TEACHER_CONTEXT: "lower max_completion_length, drop long prompts or use a teacher with a longer context",
    DropReason.TEACHER_TEMPLATE: "write prompts that the teacher's chat template accepts",
    DropReason.TEACHER_REFUSED: "see in the log why the teacher's server refuses samples",
    DropReason.NON_FINITE: "check the teacher's weights and its dtype (teacher_model_init_kwargs)",
    DropReason.NO_REFERENCE: "use a reference whose tokenizer can encode such text",
    DropReason.INCOMPLETE: "choose an objective that compares parts of a response, such as dpca",
    DropReason.ALONE: "raise num_generations",
}


class LowCoverageError(InputError):
    """The run stopped after a checkpoint, because the teacher supervised less than it must."""


def check_settings(min_coverage: float | None, low_coverage: str) -> None:
    """Check the settings of a guard.

    Raises:
        InputError: a value that has no meaning.
    """
    if min_coverage is not None and not 0 <= min_coverage <= 1:
        raise InputError(f"min_coverage is a share of the sampled bytes, from 0 to 1, not {min_coverage}.")
    if low_coverage not in REACTIONS:
        raise InputError(f"low_coverage must be one of {', '.join(REACTIONS)}, not {low_coverage!r}.")


class CoverageGuard(TrainerCallback):
    """Compares the coverage of the latest rollouts with what a run must reach, whenever a batch of them is used up.

    Every process asks for the coverage of all processes together, so all decide alike.

    Args:
        student: its vocabulary.
        teachers: theirs; of several, the one with the lowest expected coverage counts.
        coverage: returns the coverage of the run so far, of all processes together; every process must call it.
        min_coverage: share of the bytes to reach; None for the expected coverage less a tolerance.
        low_coverage: what happens below it: "stop", "warn" or "ignore".
        every: optimisation steps on one batch of rollouts; a checkpoint falls between two batches.
        emit: receives the warning; the logger ``crossdistill`` by default.
    """

    def __init__(
        self,
        student: ByteVocab,
        teachers: Sequence[ByteVocab],
        coverage: Callable[[], Coverage],
        min_coverage: float | None = None,
        low_coverage: str = "stop",
        every: int = 1,
        emit: Callable[[str], None] = _LOGGER.warning,
    ):
        self._student = student
        self._teachers = teachers
        self._coverage = coverage
        self._chosen = min_coverage
        self._reaction = low_coverage
        self._every = every
        self._emit = emit
        self._found: str | None = None
        self._seen = Coverage()
        self._window: deque[Coverage] = deque()

    @cached_property
    def expected(self) -> float:
        """Share of the bytes of the shipped corpus that every teacher can supervise."""
        return min(expected_coverage(self._student, teacher) for teacher in self._teachers)

    @property
    def minimum(self) -> float:
        """Share of the sampled bytes that the run must reach."""
        return self._minimum.of_bytes

    @property
    def _minimum(self) -> "_Minimum":
        if self._chosen is not None:
            return _Minimum(self._chosen)
        return _Minimum(minimum_coverage(self.expected), self.expected)

    def as_dict(self) -> dict[str, Any]:
        """Its part of the ``coverage`` entry in ``run.json``."""
        return {"promised": self.expected, "minimum": self.minimum, "low_coverage": self._reaction}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start anew: what an earlier part of the run sampled is not judged again."""
        self._found = None
        self._window.clear()
        if self._reaction != "ignore":
            self._seen = self._coverage()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the run if its batch of rollouts is used up and enough has been sampled."""
        if state.global_step % self._every or self._reaction == "ignore" or self._found is not None:
            return
        recent = self._recent()
        if len(self._window) < MIN_ROLLOUTS or not _is_enough(recent) or not self._minimum.is_missed_by(recent):
            return
        self._found = _message(recent, self._minimum, state.global_step, self._reaction)
        if self._reaction == "stop":
            control.should_save = True
            control.should_training_stop = True
        elif state.is_world_process_zero:
            self._emit(self._found)

    def check(self) -> None:
        """After training.

        Raises:
            LowCoverageError: the run was stopped.
        """
        if self._found is not None and self._reaction == "stop":
            raise LowCoverageError(self._found)

    def _recent(self) -> Coverage:
        """The coverage of the latest batches of rollouts, of no more of them than a judgement needs."""
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


@dataclass(frozen=True)
class _Minimum:
    """What a run must reach.

    Attributes:
        of_bytes: share of the sampled bytes.
        expected: the expected coverage from which it follows; None if it was set as min_coverage.
    """

    of_bytes: float
    expected: float | None = None

    @property
    def of_tokens(self) -> float:
        """Share of the sampled tokens: no more than of the bytes, so that a lower min_coverage lowers both."""
        return min(MIN_TOKEN_SHARE, self.of_bytes)

    def is_missed_by(self, coverage: Coverage) -> bool:
        return coverage.share < self.of_bytes or coverage.token_share < self.of_tokens


def _sum(coverages: Iterable[Coverage]) -> Coverage:
    total = Coverage()
    for coverage in coverages:
        total.add(coverage)
    return total


def _is_enough(coverage: Coverage) -> bool:
    return max(coverage.sampled.bytes, coverage.sampled.tokens) >= MIN_BYTES


# ---- the message ----------------------------------------------------------------------------------------------------


def _message(recent: Coverage, minimum: _Minimum, step: int, reaction: str) -> str:
    """Of a coverage that misses its minimum, by bytes if these miss it, else by tokens: shares, losses, ways out."""
    by_bytes = recent.share < minimum.of_bytes
    unit, size = ("bytes", _num_bytes) if by_bytes else ("tokens", _num_tokens)
    share, needed = (recent.share, minimum.of_bytes) if by_bytes else (recent.token_share, minimum.of_tokens)
    lost = sorted(recent.dropped.items(), key=lambda item: -size(item[1]))
    reasons = [reason for reason, count in lost if size(count) and (by_bytes or reason != DropReason.STOP_TOKEN)]
    counts = ", ".join(f"{reason.replace('_', ' ')} {size(recent.dropped[reason]):,}" for reason in reasons)
    where = "the run stopped after a checkpoint at" if reaction == "stop" else "at"
    return (
        f"{where} step {step}: the teacher supervised {share:.1%} of the last {size(recent.sampled):,} {unit} "
        f"sampled, less than {needed:.1%} ({_origin(minimum, by_bytes)}). {unit.capitalize()} lost: {counts}. "
        f"{_advice([_WAYS_OUT[reason] for reason in reasons if reason in _WAYS_OUT], reaction)}"
    )


def _origin(minimum: _Minimum, by_bytes: bool) -> str:
    """Where the minimum comes from."""
    if not by_bytes and minimum.of_bytes >= MIN_TOKEN_SHARE:
        return "the smallest share of the tokens"
    if minimum.expected is None:
        return "min_coverage"
    return f"{minimum.expected:.1%} is expected of this pair, see crossdistill inspect, less a tolerance"


def _advice(ways_out: list[str], reaction: str) -> str:
    """A resumed run keeps all settings except those of its coverage; other settings need a new run."""
    quieter = "warn" if reaction == "stop" else "ignore"
    accept = f'a lower min_coverage or low_coverage = "{quieter}" accepts it'
    if not ways_out:
        return f"Resume once the cause is removed; {accept}."
    return f"For a new run, {'; '.join(ways_out)}. To go on with this one, resume: {accept}."


def _num_bytes(count: Count) -> int:
    return count.bytes


def _num_tokens(count: Count) -> int:
    return count.tokens
