"""What is compared: a model, or the runs of one method that differ in their seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.eval.comparison.reach import COSTS, Point


@dataclass(frozen=True)
class Contender:
    """One row of a comparison, on one task.

    Attributes:
        name: short, and unique in the comparison.
        runs: the outcomes of each run, on the same problems; several are seeds of one method.
        curves: accuracy in training of each run; empty if these are evaluations alone.
        start: the outcomes of the student before training; None if unknown. A student before training is its own start.
    """

    name: str
    runs: tuple[Outcomes, ...]
    curves: tuple[tuple[Point, ...], ...] = ()
    start: Outcomes | None = None

    @property
    def averages(self) -> np.ndarray:
        """float64 [problems], the share of right samples of each problem, over all runs."""
        return np.sum([run.num_correct for run in self.runs], axis=0) / sum(run.k for run in self.runs)

    @property
    def is_start(self) -> bool:
        """Whether this is a student before training."""
        return self.start is self.runs[0]

    @property
    def means(self) -> list[float]:
        """The accuracy of each run."""
        return [float(run.averages.mean()) for run in self.runs]

    @property
    def spread(self) -> float:
        """The range of the accuracy over the runs; 0 of a single one."""
        return max(self.means) - min(self.means)

    @property
    def mean_curve(self) -> list[Point]:
        """The mean of the curves at the steps that all have; of several, the ends are the lowest and highest run."""
        if len(self.curves) == 1:
            return list(self.curves[0])
        by_step = [{point.costs["step"]: point for point in curve} for curve in self.curves]
        shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
        return [_mean([points[step] for points in by_step]) for step in shared]


def _mean(points: Sequence[Point]) -> Point:
    accuracies = [point.accuracy for point in points]
    shared = [key for key in COSTS if all(key in point.costs for point in points)]
    costs = {key: sum(point.costs[key] for point in points) / len(points) for key in shared}
    return Point(sum(accuracies) / len(points), (min(accuracies), max(accuracies)), costs)
