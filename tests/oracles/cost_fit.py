"""A line over the logarithm, its inverse and their intervals, from the definitions."""

import math
import random
from collections.abc import Sequence
from statistics import fmean

from scipy.stats import t


def line(counts: Sequence[float], accuracies: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept that minimise the squared misses: the normal equations of two unknowns."""
    logs = [math.log(count) for count in counts]
    mean_log, mean = fmean(logs), fmean(accuracies)
    products = sum((log - mean_log) * (y - mean) for log, y in zip(logs, accuracies, strict=True))
    slope = products / sum((log - mean_log) ** 2 for log in logs)
    return slope, mean - slope * mean_log


def holds(counts: Sequence[float], accuracies: Sequence[float], log: float, accuracy: float, error: float) -> bool:
    """Whether "the line is at `accuracy` at `log`" is not rejected by a t test at 5 %."""
    slope, intercept = line(counts, accuracies)
    logs = [math.log(count) for count in counts]
    n, centre = len(logs), fmean(logs)
    misses = sum((y - intercept - slope * x) ** 2 for x, y in zip(logs, accuracies, strict=True))
    variance = misses / (n - 2)
    spread = sum((x - centre) ** 2 for x in logs)
    standard_error = math.sqrt(variance * (1 / n + (log - centre) ** 2 / spread) + error**2)
    return bool(abs(intercept + slope * log - accuracy) <= t.ppf(0.975, n - 2) * standard_error)


def resampled(
    counts: Sequence[float], results: Sequence[Sequence[float]], reached: Sequence[float], times: int
) -> list[float]:
    """The count needed in each of many draws of as many problems with replacement, sorted."""
    draws, needed = random.Random(0), []
    for _ in range(times):
        drawn = [draws.randrange(len(reached)) for _ in reached]
        slope, intercept = line(counts, [fmean(row[problem] for problem in drawn) for row in results])
        target = fmean(reached[problem] for problem in drawn)
        needed.append(math.exp((target - intercept) / slope) if slope > 0 else math.inf)
    return sorted(needed)
