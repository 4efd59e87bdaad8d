"""95 % intervals for what an evaluation measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

CONFIDENCE = 0.95
_TAIL = (1 + CONFIDENCE) / 2
_Z = NormalDist().inv_cdf(_TAIL)


@dataclass(frozen=True)
class Estimate:
    """A value from `n` independent observations, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """An entry of ``metrics`` in ``run.json``; ``ci`` is None where the interval is unbounded."""
        bounded = math.isfinite(self.low) and math.isfinite(self.high)
        return {"mean": self.mean, "ci": [self.low, self.high] if bounded else None, "n": self.n}


class Proportion(Estimate):
    """A share of successes, such as accuracy with one answer a problem."""


class Mean(Estimate):
    """The mean of real values."""


def wilson(successes: int, n: int) -> Proportion:
    """The share of successes with Wilson's score interval (Wilson 1927).

    It holds for few trials and for shares near 0 or 1, where the normal approximation does not.

    The trials must be independent. Several answers to one problem are not: take each problem's mean and
    :func:`mean_interval` over problems.

    Raises ValueError where there are no trials, or more successes than trials.

    >>> estimate = wilson(8, 10)
    >>> f"{estimate.mean:.2f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    '0.80 [0.490, 0.943]'
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials have no proportion")
    share, spread = successes / n, _Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half_width = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # at the edges the interval ends exactly at 0 and 1, but for rounding
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == n else centre + half_width
    return Proportion(share, low, high, n)


def mean_interval(values: Sequence[float]) -> Mean:
    """The mean of independent values with Student's t interval.

    One value says nothing about its spread: the interval is unbounded. Equal values give an interval of width 0.

    Raises ValueError where there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values to take the mean of")
    mean = fmean(values)
    if n == 1:
        return Mean(mean, -math.inf, math.inf, n)
    half_width = _t_quantile(n - 1) * stdev(values) / math.sqrt(n)
    return Mean(mean, mean - half_width, mean + half_width, n)


def _t_quantile(degrees: int) -> float:
    """The upper 97.5 % point of Student's t: exact for 1 and 2 degrees of freedom, within 0.15 % above.

    From 3 degrees on the expansion in 1 / degrees around the normal quantile (Abramowitz and Stegun 26.7.5).
    """
    if degrees == 1:
        return math.tan(math.pi * (_TAIL - 0.5))
    if degrees == 2:
        return (2 * _TAIL - 1) * math.sqrt(2 / (4 * _TAIL * (1 - _TAIL)))
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))
