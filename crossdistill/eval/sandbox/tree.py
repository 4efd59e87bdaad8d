"""A process with all its descendants."""

import contextlib
import threading
from typing import Any

from crossdistill.eval.sandbox.limits import Limits


class Tree:
    """What a process and its descendants use, and their end.

    A process that left the tree stays known if it was seen before. Threads may share it.
    """

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil = psutil
        self._seen: set[psutil.Process] = set()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._seen.add(psutil.Process(pid))
        self._root = pid
        self._lock = threading.Lock()

    def exceeded(self, limits: Limits) -> str | None:
        """The name of a limit that they are beyond together, or None."""
        memory = threads = 0
        cpu = 0.0
        for process in self._members():
            with contextlib.suppress(self._psutil.NoSuchProcess, self._psutil.AccessDenied):
                memory += process.memory_info().rss
                threads += process.num_threads()
                cpu += sum(process.cpu_times()[:4])  # its own and that of children that have ended
        if memory > limits.memory:
            return "memory"
        if threads > limits.processes + _OVERHEAD:
            return "processes"
        return "cpu_seconds" if cpu > limits.cpu_seconds else None

    def kill(self) -> None:
        """End them all; of a process id that was given to another process since, nothing is ended."""
        for process in self._members():
            with contextlib.suppress(self._psutil.NoSuchProcess, self._psutil.AccessDenied):
                process.kill()

    def _members(self) -> list[Any]:
        with self._lock:
            self._seen = {process for process in self._seen if process.is_running()}
            for process in tuple(self._seen):
                with contextlib.suppress(self._psutil.NoSuchProcess, self._psutil.AccessDenied):
                    self._seen.update(process.children(recursive=True))
            return sorted(self._seen, key=lambda process: process.pid != self._root)  # the root first: it ends others


_OVERHEAD = 3
"""Processes of the sandbox itself."""
