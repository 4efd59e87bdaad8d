"""What the models of the recipe reached, from the folders of their evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Self

import numpy as np

from crossdistill.eval.comparison.agreement import check_agreement
from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.eval.comparison.resampling import NUM_RESAMPLES, percentiles
from crossdistill.eval.interval import Estimate, mean_interval
from crossdistill.runs.accuracy import ACCURACY
from crossdistill.runs.evaluated import EVALUATION_FILE, read_outcomes
from crossdistill.runs.run_file import read_record
from recipes.paper.cells import Cell, cells
from recipes.paper.settings import Settings


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one model.

    Attributes:
        outcomes: of each task.
        intervals: task -> accuracy with its interval over problems.
    """

    outcomes: dict[str, Outcomes]
    intervals: dict[str, Estimate]

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Read a cell's.

        Raises:
            InputError: the file is damaged.
        """
        path = cell.evaluation / EVALUATION_FILE
        outcomes, entries = read_outcomes(path), read_record(path)["tasks"]
        metrics = {task: entries[task]["metrics"][ACCURACY] for task in outcomes}
        return cls(outcomes, {task: Estimate(one["mean"], *one["ci"], one["n"]) for task, one in metrics.items()})

    def values(self, tasks: Sequence[str]) -> list[np.ndarray] | None:
        """Of each task the averages of its problems; None if one was not evaluated."""
        if not all(task in self.outcomes for task in tasks):
            return None
        return [self.outcomes[task].averages for task in tasks]


@dataclass(frozen=True)
class Scores:
    """Accuracies by pair and method.

    Intervals are over seeds (Student's t) if there are several, and else over problems: of one task those of its
    evaluation, of a mean over tasks and of a gain by the bootstrap, in which each task draws its own problems.

    Attributes:
        evaluations: pair and method -> one for each seed that was run.
    """

    evaluations: dict[tuple[str, str], list[Evaluation]] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """Those of all cells that were evaluated.

        Raises:
            InputError: two are of other problems of a task or were sampled otherwise, or a file is damaged.
        """
        found: dict[tuple[str, str], list[Evaluation]] = {}
        named: list[tuple[str, Evaluation]] = []
        for cell in cells(settings, with_ours=True):
            if (cell.evaluation / EVALUATION_FILE).exists():
                named.append((cell.name, Evaluation.of(cell)))
                found.setdefault((cell.pair, cell.method), []).append(named[-1][1])
        for task in sorted({task for _, one in named for task in one.outcomes}):
            check_agreement([(name, one.outcomes[task]) for name, one in named if task in one.outcomes])
        return cls(found)

    def score(self, pair: str, method: str, tasks: Sequence[str]) -> Estimate | None:
        """Accuracy, as a mean over tasks; None unless every run of the method was evaluated on all of them."""
        runs = self.evaluations.get((pair, method), [])
        values = [run.values(tasks) for run in runs]
        if not runs or any(one is None for one in values):
            return None
        if len(runs) == 1 and len(tasks) == 1:
            return runs[0].intervals[tasks[0]]
        return _estimate([one for one in values if one is not None])

    def gain(self, pair: str, before: str, after: str, tasks: Sequence[str]) -> Estimate | None:
        """Accuracy of `after` less that of `before`, one model, problem by problem; None if one is missing."""
        starts = [run.values(tasks) for run in self.evaluations.get((pair, before), [])]
        ends = [run.values(tasks) for run in self.evaluations.get((pair, after), [])]
        if not starts or not ends or any(one is None for one in (*starts, *ends)):
            return None
        return _estimate(
            [[end - start for end, start in zip(run, starts[0] or [], strict=True)] for run in ends if run is not None]
        )


def _estimate(runs: Sequence[Sequence[np.ndarray]]) -> Estimate:
    """The mean over tasks: run -> task -> values of its problems."""
    means = [fmean(float(task.mean()) for task in run) for run in runs]
    if len(runs) > 1:
        return mean_interval(means)
    [tasks] = runs
    resampled = np.mean([_resampled(task, seed) for seed, task in enumerate(tasks)], axis=0)
    return Estimate(means[0], *percentiles(resampled), sum(map(len, tasks)))


def _resampled(values: np.ndarray, seed: int) -> np.ndarray:
    """Means over problems that are drawn with replacement; another seed for each task, whose problems are others."""
    random = np.random.default_rng(seed)
    return values[random.integers(len(values), size=(NUM_RESAMPLES, len(values)))].mean(axis=1)
