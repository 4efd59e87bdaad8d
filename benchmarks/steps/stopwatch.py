"""Seconds of a step by who spends them, each second counted once."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

REST = "rest"
"""What belongs to no part: our own work, and that of TRL, accelerate and Python around it."""


class Stopwatch:
    """Adds up the seconds of parts; inside a part that is begun within another, only the inner one's run.

    Args:
        clock: seconds; those of the processor do not depend on what else the machine does.

    Example:
        >>> watch = Stopwatch()
        >>> with watch.part("sampling"), watch.part("head"):
        ...     pass
        >>> sorted(watch.take())
        ['head', 'rest', 'sampling']
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = defaultdict(float)
        self._open = [REST]
        self._since = clock()

    def take(self) -> dict[str, float]:
        """Seconds of each part since the last call; starts anew."""
        self._count()
        taken, self._seconds = dict(self._seconds), defaultdict(float)
        return taken

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the seconds inside as those of a part."""
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def begin(self, name: str) -> None:
        """A part begins, perhaps within another one."""
        self._count()
        self._open.append(name)

    def end(self) -> None:
        """The part that began last ends."""
        self._count()
        self._open.pop()

    @property
    def current(self) -> str:
        """The part whose seconds run."""
        return self._open[-1]

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose seconds are those of a part."""

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return counted

    def _count(self) -> None:
        now = self._clock()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now
