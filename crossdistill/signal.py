"""The signal that a teacher gives, and an objective needs, at each position."""

from enum import Enum


class Signal(Enum):
    """The teacher's signal at each position, from the least information to the most.

    Example:
        >>> Signal.DENSE.covers(Signal.SAMPLED), Signal.SAMPLED.covers(Signal.TOPK)
        (True, False)
    """

    SAMPLED = "sampled"  # the log-probability of the realised token
    TOPK = "topk"  # the k most probable tokens and their log-probabilities
    DENSE = "dense"  # the whole distribution

    def covers(self, other: "Signal") -> bool:
        """Whether a teacher with this signal can also give the other one."""
        order = list(Signal)
        return order.index(self) >= order.index(other)
