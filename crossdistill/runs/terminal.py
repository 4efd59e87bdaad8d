"""What a person sees of a run on standard output: a status that moves on a terminal, plain lines elsewhere."""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from crossdistill.phases import NAME
from crossdistill.report.format import duration

TRAINING = "training"
"""The phase in which steps are made."""
_SILENCE_S = 7.0  # after which a line elsewhere than on a terminal says that the phase goes on
_REFRESHES_S = 4  # of the status on a terminal, a second


class Terminal(logging.Handler):
    """Shows the phases of a run, its lines and its steps, inside a ``with`` statement.

    Elsewhere than on a terminal each phase has a line, without control characters, and a further one whenever nothing
    was printed for some seconds. Of several processes the first one shows something.

    Args:
        stream: where; standard output by default.
        is_quiet: whether to leave out everything but :meth:`say`.
    """

    def __init__(self, stream: TextIO | None = None, is_quiet: bool = False):
        super().__init__()
        stream = stream or sys.stdout
        self._is_first = os.environ.get("RANK", "0") == "0"
        self._is_quiet = is_quiet or not self._is_first
        # FORCE_COLOR and the like make rich take any file for a terminal
        self._is_drawn = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._console = Console(file=stream, force_terminal=self._is_drawn, highlight=False, soft_wrap=True)
        self._spinner = Spinner("dots")
        self._phase = self._detail = self._figures = self._left = ""
        self._done = self._total = 0
        self._began = self._printed = time.monotonic()
        self._ended = threading.Event()
        self._live = Live(
            get_renderable=self._status, console=self._console, refresh_per_second=_REFRESHES_S, transient=True
        )

    def __enter__(self) -> Self:
        if self._is_quiet:
            return self
        logger = logging.getLogger(NAME)
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        self._ended.clear()
        if self._is_drawn:
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.silence()

    def silence(self) -> None:
        """Show nothing more but what :meth:`say` is given."""
        if self._is_quiet:
            return
        self._is_quiet = True
        self._ended.set()
        logger = logging.getLogger(NAME)
        logger.removeHandler(self)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        if self._is_drawn:
            self._live.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Take up a phase, or how far it has come."""
        text = record.getMessage()
        if record.levelno >= logging.INFO:
            self.begin(text)
        else:
            self._detail = text

    def begin(self, phase: str, is_said: bool = True) -> None:
        """A phase begins.

        Args:
            phase: what is done.
            is_said: whether it gets a line elsewhere than on a terminal.
        """
        self._phase, self._detail, self._began = phase, "", time.monotonic()
        if is_said and not (self._is_quiet or self._is_drawn):
            self._print(phase)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._is_first:
            self._print(text)

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and what they are, in two columns."""
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            self.say(f"{name:<{width}}  {text}")

    def steps(self, done: int, total: int, seconds_left: float | None) -> None:
        """Take up how many steps are done, which the status shows as a bar; a `total` of 0 ends it."""
        self._done, self._total = done, total
        self._left = "" if seconds_left is None else f"{duration(round(seconds_left))} left"

    def log(self, figures: str) -> None:
        """Take up the figures of a step: the status keeps the latest, elsewhere each has a line."""
        if self._is_drawn:
            self._figures = figures
        elif not self._is_quiet:
            left = f"  {self._left}" if self._left else ""
            self._print(f"step {self._done}/{self._total}  {figures}{left}")

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        self._console.print(text, markup=False)

    def _beat(self) -> None:
        while not self._ended.wait(0.5):
            if time.monotonic() - self._printed >= _SILENCE_S and self._phase:
                self._print(f"  {self._doing()}")

    def _doing(self) -> str:
        is_step = self._phase == TRAINING and self._done < self._total
        step = f"step {self._done + 1}/{self._total}: " if is_step else ""
        since = duration(round(time.monotonic() - self._began))
        return f"{step}{', '.join(filter(None, (self._phase, self._detail, since)))}"

    def _status(self) -> RenderableType:
        row = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [self._spinner]
        if self._total:
            cells += [ProgressBar(self._total, self._done, width=24), f"{self._done}/{self._total}", self._left]
        row.add_row(*cells, Text(self._doing(), style="dim", overflow="ellipsis", no_wrap=True))
        return Group(row, Text(self._figures, no_wrap=False, overflow="fold")) if self._figures else row
