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
        teachers: by name; their usage is logged as ``server/*``, or ``server/NAME/*`` if there are several.
    """

    def __init__(self, timers: Timers, teachers: Mapping[str, Teacher]):
        self._timers = timers
        self._sums = {"train": RolloutSums(), "eval": RolloutSums()}
        self._on_policy: list[float] = []
        self._usage = {name: one.usage for name, one in teachers.items() if one.usage()}
        self._before = {name: dict(usage()) for name, usage in self._usage.items()}

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
        metrics = {}
        for name, usage in self._usage.items():
            now, before = dict(usage()), self._before[name]
            prefix = "server" if len(self._usage) == 1 else f"server/{name}"
            metrics.update({f"{prefix}/{key}": value - before[key] for key, value in now.items()})
            self._before[name] = now
        return metrics
