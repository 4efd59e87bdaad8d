"""What a folder says of a model's answers: an evaluation, or a training run that evaluated its student on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.eval.comparison.reach import COSTS, Point
from crossdistill.runs.run_file import RUN_FILE, read_record

EVALUATION_FILE = "eval.json"
EVALUATIONS = "evaluations"


@dataclass(frozen=True)
class Evaluated:
    """A folder to compare, by task.

    Attributes:
        folder: as the user gave it.
        outcomes: task -> the outcomes of the evaluation, or of the last one of a training run.
        unfinished: tasks of an evaluation that was interrupted before they were finished.
        starts: task -> the outcomes of the student before training; empty for an evaluation.
        curves: task -> accuracy in training; empty for an evaluation.
        method: the configuration of a training run without its seed: runs with the same are grouped. Of an evaluation,
            that of the run that wrote its model, with a mark; None if it is no run's, or none is known.
        student: of a training run, before training.
        seed: of the run behind `method`; None if there is none.
    """

    folder: Path
    outcomes: Mapping[str, Outcomes]
    unfinished: tuple[str, ...] = ()
    starts: Mapping[str, Outcomes] = field(default_factory=dict)
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    method: Mapping[str, Any] | None = None
    student: str = ""
    seed: int | None = None


def read_evaluated(folder: Path) -> Evaluated:
    """Read the folder of an evaluation or of a training run.

    Raises:
        InputError: it is neither, is not finished, has no evaluations, or a file in it is damaged.
    """
    if (folder / EVALUATION_FILE).exists():
        return _evaluation(folder)
    if (folder / RUN_FILE).exists():
        return _training_run(folder)
    if (folder / "samples").is_dir():
        raise InputError(f"the evaluation in {folder} is not finished: continue it with --resume.")
    if (folder / "config.json").exists():
        raise InputError(f"the run in {folder} is not finished: continue it with --resume.")
    what = "holds neither an evaluation nor a training run" if folder.is_dir() else "is not a folder"
    raise InputError(f"{folder} {what}: give the output folder of `crossdistill eval` or `crossdistill train`.")


def _evaluation(folder: Path) -> Evaluated:
    outcomes, config = read_outcomes(folder / EVALUATION_FILE), folder / "config.json"
    planned = read_record(config).get("tasks", {}) if config.exists() else {}
    unfinished = tuple(task for task in planned if task not in outcomes)
    run = _run_behind(Path(next(iter(outcomes.values())).model))
    method = _method(run)
    if method is not None:
        method = {**method, "evaluated": "afterwards"}  # it never equals that of the run itself
    return Evaluated(folder, outcomes, unfinished, method=method, seed=run.get("seed"))


def _run_behind(model: Path) -> dict[str, Any]:
    """The record of the run whose final model was evaluated; empty if it is no run's."""
    is_of_run = model.name == "model" and (model.parent / RUN_FILE).exists()
    return read_record(model.parent / RUN_FILE) if is_of_run else {}


def read_outcomes(path: Path) -> dict[str, Outcomes]:
    """Task -> the outcomes in an ``eval.json``.

    Raises:
        InputError: it is damaged.
    """
    record = read_record(path)
    tasks = record.get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise InputError(f"{path} names no task: give the output folder of a finished evaluation.")
    model = str(record.get("model", ""))
    return {task: Outcomes.from_entry(task, model, entry, str(path)) for task, entry in tasks.items()}


def _training_run(folder: Path) -> Evaluated:
    run = read_record(folder / RUN_FILE)
    evaluations = evaluations_of(folder)
    accuracy = run.get("accuracy")
    if not accuracy or not evaluations:
        raise InputError(
            f"the run in {folder} evaluated nothing: set eval_tasks in its run file, or evaluate its model with "
            f"`crossdistill eval {folder / 'model'}` and compare that."
        )
    return Evaluated(
        folder=folder,
        outcomes=read_outcomes(evaluations[max(evaluations)]),
        starts=read_outcomes(evaluations[0]) if 0 in evaluations else {},
        curves=_curves(accuracy, folder / RUN_FILE),
        method=_method(run),
        student=str(run.get("student", "")),
        seed=run.get("seed"),
    )


def evaluations_of(folder: Path) -> dict[int, Path]:
    """Step -> its evaluation, for those that were finished."""
    found = (path for path in (folder / EVALUATIONS).glob(f"step-*/{EVALUATION_FILE}"))
    steps = ((path.parent.name.removeprefix("step-"), path) for path in found)
    return {int(step): path for step, path in steps if step.isdigit()}


def _curves(accuracy: Any, path: Path) -> dict[str, tuple[Point, ...]]:
    try:
        return {
            task: tuple(_point(row) for row in sorted(rows, key=lambda row: row["step"]))
            for task, rows in accuracy.items()
        }
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} is damaged: an entry of its accuracy lacks step or mean: repeat the run, or restore the file from "
            "a backup."
        ) from None


def _point(row: Mapping[str, Any]) -> Point:
    costs = {key: float(row[key]) for key in COSTS if row.get(key) is not None}
    ci = row.get("ci")
    return Point(float(row["mean"]), None if ci is None else (float(ci[0]), float(ci[1])), costs)


def _method(run: Mapping[str, Any]) -> dict[str, Any] | None:
    config = run.get("config")
    if not config:
        return None
    return {**config, "train": {key: value for key, value in (config.get("train") or {}).items() if key != "seed"}}
