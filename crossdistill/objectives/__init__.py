"""Training objectives, one file a method, chosen by name."""

from crossdistill.objectives.base import LossSum, Objective, Signal
from crossdistill.objectives.registry import available, get

__all__ = ["LossSum", "Objective", "Signal", "available", "get"]
