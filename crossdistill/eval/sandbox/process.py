"""A running program: its pipes, and the watch over its limits."""

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.outcome import INTERRUPTED, Outcome
from crossdistill.eval.sandbox.tree import Tree

_WATCH_SECONDS = 0.2  # between two looks at the processes: each look reads all of /proc
_TICK_SECONDS = 0.05
_CHUNK = 1 << 16


class Process:
    """A program that runs within limits; whatever it does, it is ended when one is passed.

    A thread reads its output and watches its limits, so that the caller may write and wait.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: Limits,
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        pass_fds: Sequence[int] = (),
        watch_seconds: float = _WATCH_SECONDS,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        """Start a command.

        Args:
            command: the command line.
            limits: for which it is ended; the kernel's are the command's own business.
            environment: all of its environment.
            folder: its working directory.
            pass_fds: file descriptors that it inherits.
            watch_seconds: between two looks at what its processes use.
            end: called once it has ended, to give back what it held.
        """
        self._limits, self._watch_seconds, self._end = limits, watch_seconds, end
        self._child = subprocess.Popen(  # noqa: S603 - the sandbox's command line
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C is for us; we end it
            bufsize=0,
        )
        self._tree = Tree(self._child.pid)
        self._deadline = time.monotonic() + limits.seconds
        self._answer_by: float | None = None
        self._output, self._errors, self._limit = bytearray(), bytearray(), None
        self._received = 0
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    _limit: str | None

    def send(self, data: bytes) -> None:
        """Write to its standard input; what it no longer reads is lost."""
        with contextlib.suppress(BrokenPipeError):
            view = memoryview(data)
            while view:
                view = view[_pipe(self._child.stdin).write(view) :]

    def ask(self, line: bytes, seconds: float) -> bytes | None:
        """Write a line, and wait for a line.

        Args:
            line: without its end.
            seconds: after which the program is ended, as if for its limit of time.

        Returns:
            The line of the program, without its end; None if it has ended.
        """
        self._answer_by = time.monotonic() + seconds
        self.send(line + b"\n")
        answer = self.read_line()
        self._answer_by = None
        return answer

    def read_line(self) -> bytes | None:
        """Wait for a line; None if the program ended without one."""
        searched = 0
        with self._changed:
            while (end := self._output.find(b"\n", searched)) < 0:
                if self._ended:
                    return None
                searched = len(self._output)
                self._changed.wait()
            line = bytes(self._output[:end])
            del self._output[: end + 1]
            return line

    def finish(self, standard_input: bytes = b"") -> Outcome:
        """Write the rest of its standard input, close that, and wait for its end."""
        self.send(standard_input)
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._child.stdin).close()
        self._thread.join()
        return Outcome(self._child.returncode, bytes(self._output), bytes(self._errors), self._limit)

    def interrupt(self) -> None:
        """End it now, whoever waits for it; the name of its limit is then :data:`INTERRUPTED`."""
        self._kill(INTERRUPTED)

    def stop(self) -> Outcome:
        """End it now."""
        self._kill(None)
        return self.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        """Read and look until the pipes are closed and the process is gone."""
        next_look = time.monotonic() + self._watch_seconds
        with selectors.DefaultSelector() as selector:
            for pipe, buffer in ((self._child.stdout, self._output), (self._child.stderr, self._errors)):
                selector.register(_pipe(pipe), selectors.EVENT_READ, buffer)
            while selector.get_map():
                for key, _ in selector.select(_TICK_SECONDS):
                    if not self._receive(key.fd, key.data):
                        selector.unregister(key.fileobj)
                if self._child.poll() is not None and self._limit is None:
                    self._tree.kill()  # what it left behind may hold the pipes
                now = time.monotonic()
                self._check_times(now)
                if now >= next_look:
                    self._kill(self._tree.exceeded(self._limits))
                    next_look = now + self._watch_seconds
        self._wait_for_the_end()

    def _receive(self, descriptor: int, buffer: bytearray) -> bool:
        data = os.read(descriptor, _CHUNK)
        self._received += len(data)
        with self._changed:
            if self._received <= self._limits.output:
                buffer += data
            self._changed.notify_all()
        if self._received > self._limits.output:
            self._kill("output")
        return bool(data)

    def _wait_for_the_end(self) -> None:
        """A program may close its pipes and run on."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_WATCH_SECONDS)
                break
            self._check_times(time.monotonic())
            self._kill(self._tree.exceeded(self._limits))
        self._tree.kill()
        for pipe in (self._child.stdout, self._child.stderr):
            _pipe(pipe).close()
        self._end()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _check_times(self, now: float) -> None:
        answer_by = self._answer_by
        if now > self._deadline or (answer_by is not None and now > answer_by):
            self._kill("seconds")

    def _kill(self, limit: str | None) -> None:
        """End everything for a limit; for None only if :meth:`stop` asks."""
        if limit is None and threading.current_thread() is self._thread:
            return
        if self._limit is None:
            self._limit = limit
        self._tree.kill()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
