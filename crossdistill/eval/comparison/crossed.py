"""The difference of two methods that were run with the same seeds and tested on the same problems.

Needs the extra ``eval``, for scipy.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.eval.comparison.significance import wilcoxon
from crossdistill.eval.interval import CONFIDENCE, Estimate


@dataclass(frozen=True)
class CrossedDifference(Estimate):
    """The mean difference over seeds and problems, with its 95 % interval for other seeds and other problems.

    Attributes:
        n: number of seeds.
        num_problems: likewise.
        degrees: of freedom of the interval and of the test.
        p_value: two-sided, for methods that are equally good.
    """

    num_problems: int
    degrees: float
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            **super().as_dict(),
            "num_problems": self.num_problems,
            "degrees": self.degrees,
            "p_value": self.p_value,
        }


def crossed_difference(first: np.ndarray, second: np.ndarray) -> CrossedDifference:
    """`first` minus `second`, seed by seed and problem by problem.

    Each seed's weights answer all problems and each problem is answered by all seeds, so neither seeds x problems nor
    problems alone are independent draws: another seed would move all problems together. Both are crossed random
    effects here, ``D[s, p] = difference + seed[s] + problem[p] + rest[s, p]``, and the mean of D has the variance
    ``var(seed) / S + var(problem) / P + var(rest) / (S P)``. The mean squares between seeds and between problems add up
    to that with the last term counted twice: a bound that is never too small in expectation and never negative. The
    square of the statistic is min F' (Clark 1973, "The language-as-fixed-effect fallacy"), with the degrees of freedom
    of Satterthwaite (1946). Seeds need not be alike between the methods: pairs of unrelated runs are valid, too.

    Student's t is too sure if only few problems tell the methods apart, so the p-value is the larger of its and of
    Wilcoxon's signed-rank test's on the averages over seeds, which is exact for few.

    Args:
        first: float [seeds, problems], the share of right samples.
        second: the same of the other method, in the same order of seeds and problems.

    Returns:
        The difference. At equality it is 0 with p = 1; if no seed and no problem differs from another, its interval has
        width 0, and the p-value is Wilcoxon's.

    Raises:
        ValueError: other shapes, or fewer than two seeds or problems, of which no variance is known.

    Example:
        >>> first = np.array([[1.0, 1.0, 0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
        >>> found = crossed_difference(first, np.zeros((2, 6)))
        >>> f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f}), p = {found.p_value}"
        '0.833 (0.562 to 1.104), p = 0.03125'
    """
    from scipy.stats import t

    if first.shape != second.shape or first.ndim != 2 or min(first.shape) < 2:
        raise ValueError(f"{first.shape} and {second.shape} are not two or more seeds of two or more problems each")
    differences = np.round(first - second, 12)  # equal differences, such as 0.3 - 0.2 and 0.2 - 0.1, are equal
    mean = float(differences.mean())
    variances = [_variance_of_mean(differences.mean(axis=1 - axis)) for axis in (0, 1)]  # of seeds, of problems
    error = math.sqrt(sum(variances))
    degrees = _satterthwaite(variances, differences.shape)
    by_averages = wilcoxon(differences.mean(axis=0))
    p_value = max(by_averages, float(2 * t.sf(abs(mean) / error, degrees)) if error else 0.0)
    half_width = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    num_seeds, num_problems = differences.shape
    return CrossedDifference(mean, mean - half_width, mean + half_width, num_seeds, num_problems, degrees, p_value)


def _variance_of_mean(averages: np.ndarray) -> float:
    """The variance of the mean of independent averages: a mean square, divided by seeds x problems."""
    # averages that are equal but for rounding have no variance
    return 0.0 if np.ptp(averages) < 1e-12 else float(averages.var(ddof=1)) / len(averages)


def _satterthwaite(variances: list[float], numbers: tuple[int, ...]) -> float:
    """Degrees of freedom of a sum of independent variances; the fewest that there can be if all are 0."""
    spread = sum(variance**2 / (number - 1) for variance, number in zip(variances, numbers, strict=True))
    return sum(variances) ** 2 / spread if spread else float(min(numbers) - 1)
