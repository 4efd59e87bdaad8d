"""One line for each cell that has ended, with the time left."""

import time
from collections.abc import Callable

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome


class Progress:
    """Tells of cells as they end.

    Args:
        say: prints a line.
        done: cells that were finished before.
        total: cells of the arena.
        jobs: cells at once.
        clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None], done: int, total: int, jobs: int, clock: Callable[[], float] = time.monotonic
    ):
        self._say = say
        self._done = done
        self._total = total
        self._jobs = jobs
        self._clock = clock
        self._seconds: list[float] = []

    def ended(self, cell: Cell, outcome: Outcome, began: float) -> None:
        """A cell that began at a time of the clock has ended now."""
        self._done += 1
        self._seconds.append(self._clock() - began)
        left = (self._total - self._done) * sum(self._seconds) / len(self._seconds) / self._jobs
        took = f"{self._seconds[-1]:.0f} s, {duration(left)} left"
        self._say(f"[{self._done}/{self._total}] {cell.id}  {_shown(outcome)}  {took}")


def _shown(outcome: Outcome) -> str:
    if outcome.validation is None:
        return f"{outcome.status}: {outcome.reason}"
    shown = f"validation {outcome.validation.mean:.1%}"
    return shown if outcome.test is None else f"{shown}, test {outcome.test.mean:.1%}"


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(40), duration(4000)
        ('40 s', '1 h 07 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
