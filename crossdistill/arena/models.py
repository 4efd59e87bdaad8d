"""The start and the teacher of a pair, as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.headroom import headroom
from crossdistill.arena.outcome import Outcome
from crossdistill.eval.comparison.difference import Difference
from crossdistill.eval.comparison.recovery import has_headroom


@dataclass(frozen=True)
class Models:
    """The start and the teacher of a pair.

    Attributes:
        start, teacher: their outcomes; None if they have not been tested.
    """

    start: Outcome | None
    teacher: Outcome | None

    @classmethod
    def of(cls, pair: str, outcomes: Mapping[Cell, Outcome]) -> "Models":
        """Those of a pair, among the outcomes of finished cells."""
        return cls(outcomes.get(Cell(pair, START, "model")), outcomes.get(Cell(pair, TEACHER, "model")))

    @property
    def start_shares(self) -> np.ndarray | None:
        """float64 [problems], the start's share of right samples."""
        return _shares(self.start)

    @property
    def teacher_shares(self) -> np.ndarray | None:
        """The teacher's, likewise."""
        return _shares(self.teacher)

    @cached_property
    def headroom(self) -> Difference | None:
        """Teacher minus start on the test problems; None unless both have answered them."""
        start, teacher = (None if one is None else one.test for one in (self.start, self.teacher))
        return None if start is None or teacher is None else headroom(start, teacher)

    @property
    def has_headroom(self) -> bool:
        """Whether the teacher is better than the start beyond the paired interval and the test."""
        return self.headroom is not None and has_headroom(self.headroom)


def model_entry(outcome: Outcome | None, command: str) -> dict[str, Any]:
    """A model as it is, in ``arena.json``: like a run, with its interval over problems."""
    if outcome is None:
        return {"status": "not run", "reason": "it has not answered the test problems", "command": command}
    if outcome.test is None:
        return {"status": outcome.status, "reason": outcome.reason, "command": command}
    test = outcome.test
    return {
        "status": "done",
        "mean": test.mean,
        "interval": list(test.ci),
        **{name: getattr(test, name) for name in ("correct", "mean_tokens", "truncated", "parsed")},
        "entropy": outcome.entropy,
        "bits_per_byte": outcome.bits_per_byte,
    }


def _shares(outcome: Outcome | None) -> np.ndarray | None:
    return None if outcome is None or outcome.test is None else np.array(outcome.test.shares)
