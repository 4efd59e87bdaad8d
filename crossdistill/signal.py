"""What a teacher gives at each position, and what an objective needs of it."""

from enum import Enum


class Signal(Enum):
    """What an objective needs of the teacher at each position, from the least to the most."""

    SAMPLED = "sampled"  # the log-probability of the realised token
    TOPK = "topk"  # the k most probable tokens and their log-probabilities
    DENSE = "dense"  # the whole distribution

    def covers(self, other: "Signal") -> bool:
        """Whether who gives this can also give the other."""
        order = list(Signal)
        return order.index(self) >= order.index(other)
