"""One line for each cell that has ended, with the time left."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from statistics import fmean

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome


class Progress:
    """Tells of cells as they end.

    Args:
        say: prints a line.
        planned: the cells that this command runs or finds finished, as far as they are known; asked again at each end.
        finished: cells that have ended, now and before.
        jobs: cells at once.
        clock: seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        planned: Callable[[], Sequence[Cell]],
        finished: Collection[Cell],
        jobs: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._say = say
        self._planned = planned
        self._finished = finished
        self._jobs = jobs
        self._clock = clock
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def ended(self, cell: Cell, outcome: Outcome, began: float) -> None:
        """A cell that began at a time of the clock has ended now."""
        took = self._clock() - began
        self._seconds[cell.stage].append(took)
        planned = self._planned()
        left = [one for one in planned if one not in self._finished]
        place = f"[{len(planned) - len(left)}/{len(planned)}]"
        self._say(f"{place} {cell.id}  {_shown(outcome)}  {took:.0f} s, {duration(self._time_of(left))} left")

    def stopped(self, cell: Cell) -> None:
        """A cell's process was stopped by a signal."""
        self._say(
            f"{cell.id} was stopped by a signal: the same command goes on with it, from a checkpoint if it has one"
        )

    def _time_of(self, cells: Sequence[Cell]) -> float:
        """Each as long as those of its stage so far; as all of them, if its stage has not come yet."""
        of_all = fmean(second for seconds in self._seconds.values() for second in seconds)
        means = {stage: fmean(seconds) for stage, seconds in self._seconds.items()}
        at_once = max(1, min(self._jobs, len(cells)))
        return sum(means.get(cell.stage, of_all) for cell in cells) / at_once


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
