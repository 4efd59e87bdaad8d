"""Seconds spent in the parts of a step."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Timers:
    """Adds up the seconds of named parts until they are taken.

    Attributes:
        on_begin: called with a part's name as it begins.
    """

    def __init__(self) -> None:
        self._parts: dict[str, float] = defaultdict(float)
        self._since = time.perf_counter()
        self.on_begin: Callable[[str], None] | None = None

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time inside this context as time of `part`."""
        if self.on_begin is not None:
            self.on_begin(part)
        start = time.perf_counter()
        yield
        self._parts[part] += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count the time inside this context as none."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Seconds of each part, and in ``total`` all that have passed, since the last call; starts anew."""
        now = time.perf_counter()
        seconds = {**self._parts, "total": now - self._since}
        self._parts.clear()
        self._since = now
        return seconds
