"""Runs programs that nobody has read, within limits and apart from the machine."""

from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.choice import choose
from crossdistill.eval.sandbox.interruptible import Interruptible
from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.outcome import INTERRUPTED, Outcome
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import Program

__all__ = ["INTERRUPTED", "Interruptible", "Limits", "Outcome", "Process", "Program", "Sandbox", "choose"]
