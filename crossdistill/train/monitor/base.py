"""A monitor sees what happens in a run; the step never asks it anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.costs import Part
from crossdistill.distill import Rollout, ScoredBatch
from crossdistill.train.monitor.histories import HistoryCounts, all_teachers
from crossdistill.train.monitor.rollout_sums import RolloutSums


@dataclass(frozen=True)
class Observation:
    """A batch of rollouts that was sampled and scored.

    Attributes:
        mode: "train" or "eval".
        step: optimisation steps made before.
        batch: the rollout with its scores, of this process.
        sums: figures of the rollouts of all processes.
        histories: earlier answers that the templates changed, by teacher; of this process.
        written_by: whose rollout it is, for costs; None if the responses were given.
        rescored: whether the student's log-probabilities took a forward pass of their own.
    """

    mode: str
    step: int
    batch: ScoredBatch
    sums: RolloutSums
    histories: Mapping[str, HistoryCounts]
    written_by: Part | None
    rescored: bool

    @classmethod
    def of(
        cls,
        mode: str,
        step: int,
        batch: ScoredBatch,
        histories: Mapping[str, HistoryCounts],
        total: Callable[[Sequence[float]], Sequence[float]],
        written_by: Part | None,
        rescored: bool,
    ) -> "Observation":
        """A batch with its figures. Every process must call it.

        Args:
            mode, step, batch, histories, written_by, rescored: as the attributes.
            total: adds numbers up over processes.
        """
        own = RolloutSums.of(batch.rollout, batch.responses, batch.coverage, all_teachers(histories))
        return cls(mode, step, batch, RolloutSums(*total(own.values())), histories, written_by, rescored)

    @property
    def rollout(self) -> Rollout:
        return self.batch.rollout


class Monitor:
    """Watches a run and changes no gradient. Every method has a default, which does nothing."""

    def see_prompts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the data, before their prompts are rendered."""

    def see(self, seen: Observation) -> None:
        """A batch of rollouts. Every process calls it, in the same order."""

    def save(self, checkpoint: Path, is_writer: bool) -> None:
        """Write what a resumed run needs. Every process calls it; the one with `is_writer` writes."""

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint; every process calls it."""
