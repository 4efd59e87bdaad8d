"""How accuracy grows with data: a line over the logarithm of the count, and how far it must be followed.

Breaking the Tokenizer Barrier, section 5.3: accuracy under SFT is taken to be linear in the logarithm of the data, as
was observed by Lu and Lab (2025), and continued to the accuracy that distillation reached. The point where it arrives
is found by dividing by a slope that is itself uncertain, so its interval may have no upper end; it is then infinite
here, and shown as unbounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crossdistill.eval.interval import CONFIDENCE

FEWEST_FOR_SCATTER = 3
"""Points from which a line leaves a scatter, and so an interval, without results of single problems."""


@dataclass(frozen=True)
class LogLine:
    """Accuracy as ``intercept + slope * log(count)``, by least squares.

    Attributes:
        counts: data points, or FLOPs, of each measurement.
        accuracies: what was measured.
        slope: per natural logarithm of the count.
        intercept: at a count of 1.

    Example:
        >>> line = LogLine.of([100, 1_000], [0.2, 0.3])
        >>> round(line.at(10_000), 6), round(line.needed(0.5))
        (0.4, 100000)
    """

    counts: tuple[float, ...]
    accuracies: tuple[float, ...]
    slope: float
    intercept: float

    @classmethod
    def of(cls, counts: Sequence[float], accuracies: Sequence[float]) -> "LogLine":
        """The line through these measurements.

        Raises:
            ValueError: a count is not positive, or fewer than two of them differ.
        """
        from scipy.stats import linregress

        if min(counts, default=0) <= 0 or len(set(counts)) < 2:
            raise ValueError("a line over the logarithm takes two different positive counts")
        fit = linregress([math.log(count) for count in counts], accuracies)
        return cls(tuple(counts), tuple(accuracies), float(fit.slope), float(fit.intercept))

    def at(self, count: float) -> float:
        """The accuracy at a count."""
        return self.intercept + self.slope * math.log(count)

    def needed(self, accuracy: float) -> float:
        """The count at which the line reaches an accuracy; infinite if it does not rise."""
        return _exp((accuracy - self.intercept) / self.slope) if self.slope > 0 else math.inf

    def needed_interval(self, accuracy: float, error: float = 0.0) -> tuple[float, float]:
        """The 95 % interval of :meth:`needed` by the scatter of the measurements about the line (Fieller 1954).

        The accuracies are taken to scatter independently and alike, by Student's t with two degrees of freedom less
        than there are measurements.

        Args:
            accuracy: to reach.
            error: its standard error.

        Returns:
            Both ends. The upper one is infinite if the slope is not significantly positive; of a line that does not
            rise, nothing is known: 0 and infinity.

        Raises:
            ValueError: there are fewer than FEWEST_FOR_SCATTER measurements.
        """
        from scipy.stats import t

        degrees = len(self.counts) - 2
        if degrees < 1:
            raise ValueError(f"the scatter about a line takes {FEWEST_FOR_SCATTER} measurements")
        if self.slope <= 0:
            return 0.0, math.inf
        logs = [math.log(count) for count in self.counts]
        centre = math.fsum(logs) / len(logs)
        spread = math.fsum((log - centre) ** 2 for log in logs)
        misses = (y - self.at(count) for count, y in zip(self.counts, self.accuracies, strict=True))
        variance = math.fsum(miss**2 for miss in misses) / degrees
        quantile = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) ** 2
        short = self.intercept + self.slope * centre - accuracy
        # those x with (short + slope x)^2 <= t^2 (variance (1/n + x^2/spread) + error^2), x from the centre on
        square = self.slope**2 - quantile * variance / spread
        rest = short**2 - quantile * (variance / len(logs) + error**2)
        low, high = _roots(square, 2 * self.slope * short, rest)
        return _exp(centre + low), _exp(centre + high)


def needed_by_problems(
    counts: Sequence[float], results: Sequence[Sequence[float]], reached: Sequence[float]
) -> tuple[float, float]:
    """The 95 % interval of the count needed, over the choice of problems: a bootstrap over problems.

    All models answer the same problems, so a resample takes the same ones for each of them, fits the line anew and
    follows it to the resampled accuracy. What another training would have given is not in it.

    Args:
        counts: of each measurement of the line.
        results: of each measurement, the share of right answers to each problem.
        reached: the shares of the model whose accuracy is to be reached, on the same problems.

    Returns:
        Both ends; the upper one is infinite if the line does not rise in more than 2.5 % of the resamples.

    Example:
        >>> always = [[0.0] * 50 + [1.0] * 50, [0.0] * 25 + [1.0] * 75]
        >>> low, high = needed_by_problems([100, 1_000], always, [1.0] * 100)
        >>> low < 10_000 < high < 100_000
        True
    """
    import numpy as np

    from crossdistill.eval.comparison.resampling import percentiles, resampled_means

    accuracies = resampled_means(np.column_stack([*results, reached])).T  # [models, resamples]
    slope, intercept = np.polyfit(np.log(counts), accuracies[:-1], 1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        needed = np.where(slope > 0, np.exp((accuracies[-1] - intercept) / slope), np.inf)
    return percentiles(needed)


def _roots(square: float, linear: float, rest: float) -> tuple[float, float]:
    """Between which a quadratic is at most 0; if it opens downwards, from the end of its positive part on."""
    if square == 0:
        return (-rest / linear, math.inf) if linear else (-math.inf, math.inf)
    under = linear**2 - 4 * square * rest
    if under < 0:  # nowhere positive: any count is possible
        return -math.inf, math.inf
    first, second = sorted((-linear + sign * math.sqrt(under)) / (2 * square) for sign in (-1, 1))
    if square > 0:
        return first, second
    return second, math.inf


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
