"""What the folders of training runs and evaluations tell of costs and accuracies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.report.cost.spending import Measurement, Method, Spending
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.run_file import read_run
from crossdistill.train.monitor.usage import FILE_NAME as USAGE_FILE

EVALUATION_FILE = "eval.json"
_COUNTED = ("data_points", "tokens", "flops")
_SETTINGS = ("digest", "sampling")  # of a task, which must be equal to compare


@dataclass(frozen=True)
class _Evaluation:
    """A folder with ``eval.json``."""

    name: str
    model: str
    tasks: Mapping[str, Mapping[str, Any]]


def read_spendings(folders: Sequence[Path]) -> tuple[list[Spending], list[str]]:
    """The training runs among these folders, each with the evaluations of its models.

    An evaluation belongs to the run that wrote its model, at its end or in a checkpoint; one of the student that a run
    began with counts as measured before its first step.

    Args:
        folders: of training runs and of evaluations.

    Returns:
        The runs, and what is said of evaluations that belong to none.

    Raises:
        InputError: a folder holds neither; a run counts no data points; none is a run; or the same task was measured on
            other problems or with other settings.
    """
    read = [_read(folder) for folder in folders]
    runs = [one for one in read if isinstance(one, Spending)]
    evaluations = [one for one in read if isinstance(one, _Evaluation)]
    if not runs:
        raise InputError("only evaluations were given: name the folders of the training runs too.")
    nested = [one for run in runs for one in _nested(Path(run.name))]
    _check_settings([*evaluations, *nested])
    notes = []
    for evaluation in evaluations:
        joined = [_joined(run, evaluation) for run in runs]
        if joined == runs:
            notes.append(f"{evaluation.name} is of {evaluation.model}, which none of the runs wrote: it is left out")
        runs = joined
    return runs, notes


def _read(folder: Path) -> Spending | _Evaluation:
    if (folder / EVALUATION_FILE).is_file():
        return _evaluation(folder)
    if not (folder / "run.json").is_file():
        raise InputError(
            f"{folder} has neither run.json nor {EVALUATION_FILE}: give the output folder of a finished run or "
            "evaluation."
        )
    return _spending(folder, read_run(folder))


def _spending(folder: Path, run: dict[str, Any]) -> Spending:
    missing = [name for name in _COUNTED if name not in run]
    if missing:
        raise InputError(
            f"{folder}/run.json has no {', '.join(missing)}, because it was written by an earlier version or is not of "
            "a run: repeat the run, or leave it out."
        )
    tokens = {Part(part): count for part, count in run["tokens"].items()}
    return Spending(
        name=str(folder),
        method=Method.SFT if Part.SFT_STEP in tokens else Method.OPD,
        student=_identity(run["student"]),
        teacher=run.get("teacher") or "",
        model=str(RunFolder(folder).model.resolve()),
        data_points=run["data_points"],
        num_examples=run.get("num_examples") or 0,
        tokens=tokens,
        flops={Part(part): count for part, count in run["flops"].items() if part != "total"},
        seconds=run.get("seconds"),
        assumptions=tuple(run.get("flops_assumptions") or ()),
        accuracy=_accuracy(folder, run),
    )


def _accuracy(folder: Path, run: dict[str, Any]) -> dict[str, tuple[Measurement, ...]]:
    """What was measured in training: by steps, all of which consume as many data points."""
    entries = run.get("accuracy") or {}
    steps = [row["step"] for row in run.get("history") or () if "step" in row]
    steps += [entry["step"] for rows in entries.values() for entry in rows]
    last = max(steps, default=0) or 1
    return {
        task: tuple(
            Measurement(
                data_points=round(run["data_points"] * entry["step"] / last),
                mean=entry["mean"],
                ci=_ends(entry.get("ci")),
                problems=_problems_of_step(folder, entry["step"], task),
            )
            for entry in sorted(rows, key=lambda entry: entry["step"])
        )
        for task, rows in entries.items()
    }


def _problems_of_step(folder: Path, step: int, task: str) -> dict[str, float] | None:
    path = folder / "evaluations" / f"step-{step:06d}"
    if not (path / EVALUATION_FILE).is_file():
        return None
    tasks = _evaluation(path).tasks
    return _problems(tasks[task]) if task in tasks else None


def _nested(folder: Path) -> Iterator[_Evaluation]:
    for path in sorted(folder.glob(f"evaluations/*/{EVALUATION_FILE}")):
        yield _evaluation(path.parent)


def _evaluation(folder: Path) -> _Evaluation:
    path = folder / EVALUATION_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _Evaluation(str(folder), str(content["model"]), dict(content["tasks"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not an evaluation ({error!r}): repeat it, or leave it out.") from None


def _check_settings(evaluations: Sequence[_Evaluation]) -> None:
    """Accuracies on other problems, or sampled otherwise, do not compare."""
    first: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for evaluation in evaluations:
        for task, entry in evaluation.tasks.items():
            name, known = first.setdefault(task, (evaluation.name, entry))
            differing = [key for key in _SETTINGS if known.get(key) != entry.get(key)]
            if differing:
                raise InputError(
                    f"{name} and {evaluation.name} measured {task} differently ({', '.join(differing)}): evaluate both "
                    "alike, or leave one out."
                )


def _joined(run: Spending, evaluation: _Evaluation) -> Spending:
    """The run with an evaluation of one of its models, if it is of one."""
    data_points = _data_points(run, _identity(evaluation.model))
    if data_points is None:
        return run
    accuracy = {task: list(points) for task, points in run.accuracy.items()}
    for task, entry in evaluation.tasks.items():
        others = [point for point in accuracy.get(task, []) if point.data_points != data_points]
        accuracy[task] = sorted([*others, _measurement(entry, data_points)], key=lambda point: point.data_points)
    return replace(run, accuracy={task: tuple(points) for task, points in accuracy.items()})


def _data_points(run: Spending, model: str) -> int | None:
    """Data points that one of the models of a run had consumed; None if it is not of this run."""
    if model == run.model:
        return run.data_points
    if model == run.student:
        return 0
    usage = Path(model) / USAGE_FILE
    if Path(model).parent == RunFolder(Path(run.name)).checkpoints.resolve() and usage.is_file():
        count: int = json.loads(usage.read_text())["data_points"]
        return count
    return None


def _measurement(entry: Mapping[str, Any], data_points: int) -> Measurement:
    metric = entry["metrics"]["avg@k"]
    return Measurement(data_points, metric["mean"], _ends(metric.get("ci")), _problems(entry))


def _problems(entry: Mapping[str, Any]) -> dict[str, float] | None:
    results = entry.get("per_problem") or {}
    return {name: fmean(answers) for name, answers in results.items() if answers} or None


def _ends(ci: Any) -> tuple[float, float] | None:
    return None if not ci or None in ci else (ci[0], ci[1])


def _identity(model: str) -> str:
    """An absolute path if there is such a folder, or a hub id."""
    return str(Path(model).resolve()) if Path(model).exists() else model
