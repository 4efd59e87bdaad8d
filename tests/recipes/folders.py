"""Folders of the recipe as its commands leave them, with chosen outcomes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdistill.eval.interval import wilson
from crossdistill.runs.run_file import write_json
from recipes.paper.cells import Cell, cells
from recipes.paper.settings import Settings

Outcomes = Mapping[str, Sequence[Sequence[bool]]]
"""Task -> problem -> verdicts of its samples."""


def cell(settings: Settings, name: str) -> Cell:
    return next(one for one in cells(settings, with_ours=True) if one.name == name)


def evaluated(folder: Path, model: str, outcomes: Outcomes, **sampling: Any) -> Path:
    """The folder of an evaluation."""
    tasks = {}
    for task, problems in outcomes.items():
        right = sum(sum(verdicts) / len(verdicts) for verdicts in problems)
        estimate = wilson(right, len(problems))
        tasks[task] = {
            "sampling": {"temperature": 0.6, "k": len(problems[0]), **sampling},
            "digest": f"problems of {task}",
            "metrics": {"avg@k": estimate.as_dict()},
            "per_problem": {str(number): list(verdicts) for number, verdicts in enumerate(problems)},
        }
    write_json(folder / "eval.json", {"kind": "evaluation", "model": model, "tasks": tasks})
    return folder


def right(count: int, of: int) -> list[list[bool]]:
    """One sample of each problem; the first ones are right."""
    return [[number < count] for number in range(of)]
