"""Compared cells of an arena that nobody ran."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from crossdistill.arena.cell import Cell, Stage
from crossdistill.arena.outcome import Outcome
from tests.arena.outcomes import answers

FLOPS = {"seqkd": 7, "dpca": 14}
"""Of a response."""


def cell(
    method: str, correct: str, seed: int, steps: int = 4, pair: str = "warm", *, stage: Stage = "test", lost: int = 0
) -> Outcome:
    """A finished one with 4 responses a step, of which some are lost."""
    responses = 4 * steps - lost
    return replace(
        Outcome(Cell(pair, method, stage, 3e-4, seed), "rules", "done", test=answers(correct)),
        curve=[{"step": 0, "mean": 0.0}, {"step": steps, "mean": 0.0}],
        responses=responses,
        flops=FLOPS[method] * responses,
    )


def written(path: Path, outcomes: Iterable[Outcome]) -> Path:
    path.write_text("".join(json.dumps(one.as_dict()) + "\n" for one in outcomes))
    return path
