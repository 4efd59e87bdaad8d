"""The slow obvious twins of the arena's statistics: min F' by the formulas of Clark (1973), and ranks by counting."""

from collections.abc import Sequence
from statistics import fmean

from scipy.stats import f


def min_f(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """min F' = F1 F2 / (F1 + F2), its second degrees of freedom, and the p-value.

    F1 and F2 are the squares of the paired t-tests over seeds, averaged over problems, and over problems, averaged over
    seeds; each has one degree of freedom for two methods.

    Args:
        first: shares of right samples, by seed and problem.
        second: the same of the other method.
    """
    differences = [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]
    by_seeds = _squared_t([fmean(row) for row in differences])
    by_problems = _squared_t([fmean(column) for column in zip(*differences, strict=True)])
    statistic = by_seeds * by_problems / (by_seeds + by_problems)
    num_seeds, num_problems = len(differences), len(differences[0])
    # each F is divided by the degrees of freedom of the *other* one's error
    degrees = (by_seeds + by_problems) ** 2 / (by_seeds**2 / (num_problems - 1) + by_problems**2 / (num_seeds - 1))
    return statistic, degrees, float(f.sf(statistic, 1, degrees))


def _squared_t(values: Sequence[float]) -> float:
    mean = fmean(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean**2 / (variance / len(values))


def average_rank(heights: Sequence[float], index: int) -> float:
    """1 + how many are higher, and half of those that are equal beside it."""
    height = heights[index]
    return 1 + sum(other > height for other in heights) + (sum(other == height for other in heights) - 1) / 2
