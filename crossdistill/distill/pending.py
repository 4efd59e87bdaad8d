"""A rollout on its way to its teachers."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossdistill.distill.multi_teacher import PendingOfSeveral
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.scorer import PendingScores


@dataclass(frozen=True)
class PendingBatch:
    """A rollout that was submitted to its teachers.

    Attributes:
        rollout: sampled or given.
        stop_positions: position of each turn's stop token in the turn, None if it has none.
        scores: waits for the teachers' answers, turn by turn.
    """

    rollout: Rollout
    stop_positions: Sequence[int | None]
    scores: PendingScores | PendingOfSeveral
