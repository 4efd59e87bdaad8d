"""The logged metrics of the rollouts since the last log."""

from collections.abc import Mapping

from crossdistill.distill.timers import Timers
from crossdistill.teachers import Teacher
from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.monitor.rollout_sums import RolloutSums


class RolloutMetrics(Monitor):
    """Adds up rollouts between two logs, apart for training and evaluation.

    Args:
        timers: of the parts of a step.
        teachers: by name; what their usage grew by since the last log is logged as ``server/*``, or ``server/NAME/*``
            if several teachers have some.
    """

    def __init__(self, timers: Timers, teachers: Mapping[str, Teacher]):
        self._timers = timers
        self._sums = {"train": RolloutSums(), "eval": RolloutSums()}
        self._on_policy: list[float] = []
        self._teachers = dict(teachers)
        self._before = {name: dict(one.usage()) for name, one in teachers.items()}

    def see(self, seen: Observation) -> None:
        if seen.mode == "train":
            self._on_policy.append(float(seen.rollout.is_sampled))
        if seen.rollout.is_sampled:  # the figures describe what the student samples
            self._sums[seen.mode].add(seen.sums.values())

    def take(self, mode: str) -> dict[str, float]:
        """The metrics since the last call, of one mode."""
        sums, self._sums[mode] = self._sums[mode], RolloutSums()
        metrics = sums.metrics()
        if mode == "train" and metrics:
            seconds = self._timers.take()  # of this process; the tokens are those of all
            metrics["tokens_per_second"] = sums.sampled_tokens / seconds["total"]
            metrics.update({f"seconds/{part}": value for part, value in seconds.items()})
            metrics.update(self._traffic())
        if mode == "train" and self._on_policy:
            metrics["on_policy"] = sum(self._on_policy) / len(self._on_policy)
            self._on_policy = []
        return metrics

    def _traffic(self) -> dict[str, float]:
        """What the teachers' counters have grown by since the last call; of this process."""
        usage = {name: dict(one.usage()) for name, one in self._teachers.items()}
        counted = [name for name, counters in usage.items() if counters]
        metrics = {}
        for name in counted:
            prefix = "server" if len(counted) == 1 else f"server/{name}"
            before = self._before[name]
            metrics.update({f"{prefix}/{key}": value - before.get(key, 0) for key, value in usage[name].items()})
        self._before = usage
        return metrics
