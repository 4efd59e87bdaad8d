"""The logged figures of a reward, and a warning if there is nothing to learn from it."""

from collections.abc import Callable, Sequence

import numpy as np

from crossdistill.distill.group_rewards import differ, rows_by_group
from crossdistill.findings import FindingLog, Kind, Severity, When
from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.reward.base import Grade
from crossdistill.train.reward.run_reward import RunReward

PATIENCE = 10
"""Batches of rollouts without a difference after which a run says so."""
REWARD_NEVER_DIFFERS = Kind(
    "reward_never_differs",
    Severity.WARNING,
    When.DURING,
    "in the first {batches} batches of rollouts the reward {name!r} was the same for all responses of each group (mean "
    "{mean:.3g}{parsed}), so it has taught nothing: see whether the prompts ask for an answer in the form that it "
    "reads, raise num_generations, or take problems that the student solves sometimes.",
    "the run is one without a reward, and costs more",
)


class RewardMetrics(Monitor):
    """Adds up the grades of training rollouts between two logs, over all processes.

    Args:
        reward: its latest grades are those of the batch that is seen.
        name: of the reward, for the warning.
        total: adds numbers up over processes.
        findings: takes up the warning.
    """

    def __init__(
        self,
        reward: RunReward,
        name: str,
        total: Callable[[Sequence[float]], Sequence[float]],
        findings: FindingLog,
    ):
        self._reward = reward
        self._name = name
        self._total = total
        self._findings = findings
        self._sums = np.zeros(_NUM_SUMS)
        self._since_start = np.zeros(_NUM_SUMS)
        self._num_batches = 0

    def see(self, seen: Observation) -> None:
        if seen.mode != "train":
            return
        sums = np.array(self._total(_sums(self._reward.latest, seen.rollout.groups)))
        self._sums += sums
        if self._num_batches >= PATIENCE:
            return
        self._num_batches += 1
        self._since_start += sums
        if self._num_batches == PATIENCE and not self._since_start[_DIFFERING]:
            found = _metrics(self._since_start)
            share = found.get("reward/parsed")
            parsed = "" if share is None else f", an answer read from {share:.0%} of the responses"
            mean = found.get("reward/mean", float("nan"))
            self._findings.add(REWARD_NEVER_DIFFERS(batches=PATIENCE, name=self._name, mean=mean, parsed=parsed))

    def take(self) -> dict[str, float]:
        """The figures since the last call.

        * reward/mean: of the responses that have a reward.
        * reward/graded: share of the responses that have one.
        * reward/parsed: share of the responses from which an answer could be read, if the reward tells.
        * reward/differing: share of the groups in which rewards differ; the others teach nothing of the task.
        """
        sums, self._sums = self._sums, np.zeros(_NUM_SUMS)
        return _metrics(sums)


_NUM_SUMS, _DIFFERING = 7, 6


def _sums(grades: Sequence[Grade], groups: Sequence[int]) -> list[float]:
    """The responses, the graded ones, and their sum; those that tell whether they were parsed, and those that were; the
    groups, and those whose rewards differ."""
    values = [grade.value for grade in grades]
    graded = [value for value in values if value is not None]
    told = [grade.parsed for grade in grades if grade.parsed is not None]
    compared = [[values[row] for row in rows] for rows in rows_by_group(values, groups)]
    differing = sum(differ(np.array(rows, dtype=np.float64)) for rows in compared)
    return [len(values), len(graded), sum(graded), len(told), sum(told), len(set(groups)), differing]


def _metrics(sums: np.ndarray) -> dict[str, float]:
    responses, graded, value, told, parsed, groups, differing = sums.tolist()
    if not responses:
        return {}
    metrics = {"reward/graded": graded / responses, "reward/differing": differing / groups}
    if graded:
        metrics["reward/mean"] = value / graded
    if told:
        metrics["reward/parsed"] = parsed / told
    return metrics
