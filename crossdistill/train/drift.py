"""How a figure of the rollouts changed between two stretches of a run, and whether it is more than noise.

A stretch is some blocks of rollouts. A figure is a ratio of two sums, such as digit bytes over sampled bytes; its
standard error is that of a ratio estimator over blocks, so that responses of one block may well depend on each other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdistill.train.monitor.metrics import RolloutSums

Sum = Callable[[RolloutSums], float]

MIN_BLOCKS = 6
"""A figure is known where so many blocks say something of it: fewer tell nothing of its noise."""


@dataclass(frozen=True)
class Estimate:
    """A figure over a stretch. influences: what each block adds to its error; their squares sum to its variance."""

    value: float
    influences: tuple[float, ...]

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(influence * influence for influence in self.influences))

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference of two figures of the same blocks."""
        pairs = zip(self.influences, other.influences, strict=True)
        return Estimate(self.value - other.value, tuple(mine - theirs for mine, theirs in pairs))

    def differs(self, other: "Estimate", sigmas: float) -> bool:
        """Whether the same figure over another stretch differs by more than so many standard errors."""
        return abs(self.value - other.value) > sigmas * math.hypot(self.error, other.error)


def ratio(blocks: Sequence[RolloutSums], top: Sum, bottom: Sum) -> Estimate | None:
    """The ratio of two sums over a stretch; None where fewer than MIN_BLOCKS have a `bottom`."""
    parts = [(top(block), bottom(block)) for block in blocks]
    num_known = sum(size > 0 for _, size in parts)
    if num_known < MIN_BLOCKS:
        return None
    total = sum(size for _, size in parts)
    value = sum(part for part, _ in parts) / total
    scale = math.sqrt(num_known / (num_known - 1)) / total
    return Estimate(value, tuple(scale * (part - value * size) for part, size in parts))
