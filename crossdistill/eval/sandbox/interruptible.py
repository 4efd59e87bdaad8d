"""A sandbox whose programs can be ended together."""

import threading
from weakref import WeakSet

from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import Program


class Interruptible(Sandbox):
    """Another sandbox, until it is interrupted: then all that runs in it ends, and what is started later ends at once.

    Args:
        sandbox: that runs the programs.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.name = sandbox.name
        self._sandbox = sandbox
        self._running: WeakSet[Process] = WeakSet()
        self._lock = threading.Lock()
        self._interrupted = False

    def check(self) -> None:
        self._sandbox.check()

    def start(self, program: Program, limits: Limits) -> Process:
        process = self._sandbox.start(program, limits)
        with self._lock:
            self._running.add(process)
            interrupted = self._interrupted
        if interrupted:
            process.interrupt()
        return process

    def interrupt(self) -> None:
        """End all programs."""
        with self._lock:
            self._interrupted = True
            running = tuple(self._running)
        for process in running:
            process.interrupt()
