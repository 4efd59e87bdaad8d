"""The contract of a sandbox."""

from abc import ABC, abstractmethod

from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.outcome import Outcome
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import Program


class Sandbox(ABC):
    """Runs Python programs that nobody has read. It may be used by several threads at once."""

    name: str

    @abstractmethod
    def check(self) -> None:
        """Check that it works on this machine.

        Raises:
            InputError: it does not; the message says why and what to do.
        """

    @abstractmethod
    def start(self, program: Program, limits: Limits) -> Process:
        """Start a program. The process must be ended by :meth:`Process.finish` or :meth:`Process.stop`."""

    def run(self, program: Program, limits: Limits, standard_input: bytes = b"") -> Outcome:
        """Run a program to its end, or to its limits."""
        return self.start(program, limits).finish(standard_input)
