"""95 % intervals for the results of an evaluation."""

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
    """A value from independent observations, with its 95 % interval.

    Attributes:
        mean: the value.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of observations.
    """

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """An entry of ``metrics`` in ``run.json``; ``ci`` is None if the interval is unbounded."""
        bounded = math.isfinite(self.low) and math.isfinite(self.high)
        return {"mean": self.mean, "ci": [self.low, self.high] if bounded else None, "n": self.n}


class Proportion(Estimate):
    """A share of successes, such as accuracy with one answer per problem."""


class Mean(Estimate):
    """The mean of real values."""


def wilson(successes: float, n: int) -> Proportion:
    """The share of successes with Wilson's score interval (Wilson 1927).

    Unlike the normal approximation, it also holds for few trials and for shares near 0 or 1.

    Args:
        successes: number of successful trials, or the sum of the trials' shares of success, which vary less.
        n: number of trials. They must be independent, which several answers to one problem are not: use
            :func:`mean_interval` over the means of the problems instead.

    Raises:
        ValueError: there are no trials, or more successes than trials.

    Example:
        >>> estimate = wilson(8, 10)
        >>> f"{estimate.mean:.2f} [{estimate.low:.3f}, {estimate.high:.3f}]"
        '0.80 [0.490, 0.943]'
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials have no proportion")
    share, spread = successes / n, _Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half_width = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # at the edges the exact interval ends at 0 and 1; rounding must not move it
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == n else centre + half_width
    return Proportion(share, low, high, n)


def mean_interval(values: Sequence[float]) -> Mean:
    """The mean of independent values with Student's t interval.

    The interval of a single value is unbounded, because its spread is unknown; that of equal values has width 0.

    Raises:
        ValueError: there are no values.

    Example:
        >>> estimate = mean_interval([1.0, 2.0, 3.0])
        >>> f"{estimate.mean:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
        '2.00 [-0.48, 4.48]'
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values to average")
    mean = fmean(values)
    if n == 1:
        return Mean(mean, -math.inf, math.inf, n)
    half_width = _t_quantile(n - 1) * stdev(values) / math.sqrt(n)
    return Mean(mean, mean - half_width, mean + half_width, n)


def _t_quantile(degrees: int) -> float:
    """The upper 97.5 % point of Student's t: exact for 1 and 2 degrees of freedom, within 0.15 % above.

    From 3 degrees on, by the expansion in 1 / degrees around the normal quantile (Abramowitz and Stegun 26.7.5).
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
