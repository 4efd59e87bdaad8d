"""Processes that answer questions, one at a time; one that takes too long is ended, and another takes its place."""

import json
import os
import queue
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.sandbox import INTERRUPTED, Limits, Process

_WATCH_SECONDS = 10.0  # between two looks at the memory of a process
_START = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""Runs a module that is found where this process finds it, and not in the folder that a user happens to be in."""


class EndedError(Exception):
    """A process was ended, or ended, before it answered; the text says which."""


class Workers:
    """Processes of one module, which reads questions as lines of JSON, and says ``{"ready": true}`` when it can.

    They are ours, and run what is ours: what is only slow or large can be ended there. They are no sandbox.

    Args:
        module: its name.
        num: processes at once; each is started when there is a question for it.
        limits: of each process.
        arguments: of the command line.
        environment: beside this process's own.
    """

    def __init__(
        self,
        module: str,
        num: int,
        limits: Limits,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._module, self._num, self._limits, self._arguments = module, num, limits, arguments
        self._environment = {**os.environ, **(environment or {})}
        self._started: set[Process] = set()
        self._interrupted = False
        self._idle: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        for _ in range(num):
            self._idle.put(None)

    def ask(self, question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a question, of whichever process is idle; several threads may ask.

        Args:
            question: JSON data.
            seconds: after which the process is ended.

        Raises:
            EndedError: there is no answer.
            CancelledError: :meth:`interrupt` was called, before or meanwhile.
            InputError: a process does not start.
        """
        process = self._idle.get()
        try:
            if self._interrupted:
                raise CancelledError
            process = process or self._start()
            said = process.ask(json.dumps(question).encode(), seconds)
            if said is None:
                ended, process = process, None
                self._started.discard(ended)
                limit = ended.finish().limit
                if limit == INTERRUPTED:
                    raise CancelledError
                raise EndedError("timed out" if limit == "seconds" else "broke off")
            answer: dict[str, Any] = json.loads(said)
            return answer
        finally:
            self._idle.put(process)

    def interrupt(self) -> None:
        """End the processes, and refuse every question until :meth:`resume`."""
        self._interrupted = True
        for process in tuple(self._started):
            process.interrupt()

    def resume(self) -> None:
        """Answer questions again."""
        self._interrupted = False

    def close(self) -> None:
        """End them."""
        for _ in range(self._num):
            if (process := self._idle.get()) is not None:
                process.stop()
                self._started.discard(process)
            self._idle.put(None)

    def _start(self) -> Process:
        command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path), self._module, *self._arguments]
        process = Process(command, self._limits, environment=self._environment, watch_seconds=_WATCH_SECONDS)
        self._started.add(process)
        if self._interrupted:
            process.interrupt()
        if process.read_line() is None:
            self._started.discard(process)
            said = process.finish().errors.decode(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"{self._module} does not start ({''.join(said)}): pip install 'crossdistill[eval]'.")
        return process
