"""The progress of an evaluation: a bar with the time left on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crossdistill.eval.sample import Sample
from crossdistill.phases import detail
from crossdistill.report.format import duration, percent

_EVERY_S = 30.0  # between two lines
_PERIOD_S = 600.0  # from which the time left is estimated: the samples of a batch end in bursts


class EvaluationProgress:
    """Shows how many samples of a task are graded. Use it in a ``with`` statement.

    Args:
        task: its name.
        total: number of samples.
        done: number of those that earlier sessions wrote.
        is_quiet: whether to show nothing.
        console: where; standard error by default.
    """

    def __init__(self, task: str, total: int, done: int, is_quiet: bool = False, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._is_quiet = is_quiet
        self._is_drawn = not is_quiet and self._console.is_terminal
        columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            *columns,
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            speed_estimate_period=_PERIOD_S,
        )
        self._task = self._bar.add_task(task, total=total, completed=done, figures="")
        self._seen = self._right = 0
        self._said_at = time.monotonic()

    def take(self, sample: Sample) -> None:
        """Count a graded sample."""
        self._seen += 1
        self._right += sample.correct
        self._bar.update(self._task, advance=1, figures=f"{percent(self._right / self._seen)} right")
        task = self._bar.tasks[0]
        detail(f"{task.completed:,} of {task.total:,} samples")
        if not self._is_quiet and not self._is_drawn:
            self._say()

    def __enter__(self) -> Self:
        if self._is_drawn:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._is_drawn:  # elsewhere it would print an empty line
            self._bar.stop()

    def _say(self) -> None:
        task, now = self._bar.tasks[0], time.monotonic()
        if now - self._said_at < _EVERY_S and not task.finished:
            return
        self._said_at = now
        left = f", {duration(task.time_remaining)} left" if task.time_remaining else ""
        line = f"{task.description}: {task.completed:,} of {task.total:,} samples, {task.fields['figures']}{left}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
