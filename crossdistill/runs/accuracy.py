"""The student's accuracy over the steps of a run, read from the evaluations in its folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossdistill.runs.folder import RunFolder
from crossdistill.runs.run_file import write_json

TRAINING = "training.json"
"""What training had cost when an evaluation was made. It is written last, so an evaluation that has it is whole."""
EVALUATION = "eval.json"
ACCURACY = "avg@k"
"""The metric that is drawn over the steps."""
_BESIDE = ("parsed", "truncated", "mean_tokens")
"""Metrics that are logged beside it."""

Point = dict[str, Any]
"""``step``, the cost of training so far (the fields of ``Spent``), and ``mean``, ``ci`` and ``n`` of the accuracy."""


@dataclass(frozen=True)
class Spent:
    """What training has cost so far, on all processes.

    Attributes:
        student_tokens: tokens of prompts and responses that the student was trained on.
        flops: of all parts.
        seconds: of training, without evaluations.

    Example:
        >>> Spent(student_tokens=2048, flops=10**9, seconds=1.5).seconds
        1.5
    """

    student_tokens: int
    flops: int
    seconds: float


def finish_evaluation(folder: Path, step: int, spent: Spent) -> None:
    """Note what training had cost; the evaluation in the folder is whole then."""
    write_json(folder / TRAINING, {"step": step, **asdict(spent)})


def is_whole(folder: Path) -> bool:
    """Whether the folder has a finished evaluation of a run."""
    return (folder / TRAINING).exists()


def tasks_of(folder: Path) -> dict[str, Any]:
    """The results of the tasks in an evaluation's folder, by name."""
    tasks: dict[str, Any] = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))["tasks"]
    return tasks


def accuracy_curves(folder: RunFolder) -> dict[str, list[Point]]:
    """The ``accuracy`` of ``run.json``: for each task its points, by step.

    Args:
        folder: of the run; evaluations that are not whole are left out.
    """
    curves: dict[str, list[Point]] = {}
    for evaluation in folder.evaluations:
        if is_whole(evaluation):
            at = json.loads((evaluation / TRAINING).read_text(encoding="utf-8"))
            for name, result in tasks_of(evaluation).items():
                curves.setdefault(name, []).append({**at, **result["metrics"][ACCURACY]})
    return curves


def figures_of(tasks: Mapping[str, Any]) -> dict[str, float]:
    """The entry of a trainer's log for an evaluation; loggers show ``eval_NAME/...`` as ``eval/NAME/...``.

    Args:
        tasks: results by name (:func:`tasks_of`).

    Example:
        >>> metrics = {"avg@k": {"mean": 0.5, "ci": [0.25, 0.75], "n": 12}}
        >>> figures_of({"sums": {"metrics": metrics}})
        {'eval_sums/accuracy': 0.5, 'eval_sums/accuracy_low': 0.25, 'eval_sums/accuracy_high': 0.75}
    """
    figures = {}
    for name, result in tasks.items():
        metrics = result["metrics"]
        figures[f"eval_{name}/accuracy"] = metrics[ACCURACY]["mean"]
        for end, value in zip(("low", "high"), metrics[ACCURACY]["ci"] or (), strict=False):
            figures[f"eval_{name}/accuracy_{end}"] = value
        figures |= {f"eval_{name}/{key}": metrics[key]["mean"] for key in _BESIDE if key in metrics}
    return figures
