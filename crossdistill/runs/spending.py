"""What the folders of training runs and evaluations tell of costs and accuracies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.eval.comparison.agreement import check_agreement
from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.report.cost.spending import Measurement, Method, Spending
from crossdistill.runs.cost_record import CostRecord, Ends, Metric, StepAccuracy, TaskRecord, checked
from crossdistill.runs.evaluated import EVALUATION_FILE, evaluations_of, read_outcomes
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.names import check_once, short_names
from crossdistill.runs.run_file import RUN_FILE, read_record, read_run
from crossdistill.train.monitor.usage import FILE_NAME as USAGE_FILE

_COUNTED = ("data_points", "tokens", "flops")


@dataclass(frozen=True)
class _Evaluation:
    """A folder with ``eval.json``: the outcomes and the interval of each task."""

    name: str
    model: str
    outcomes: Mapping[str, Outcomes]
    intervals: Mapping[str, tuple[float, float] | None]

    @classmethod
    def read(cls, folder: Path) -> "_Evaluation":
        path = folder / EVALUATION_FILE
        outcomes, record = read_outcomes(path), read_record(path)
        entries = {task: checked(TaskRecord, entry, path) for task, entry in record["tasks"].items()}
        metrics = {task: (entry.metrics or {}).get("avg@k", Metric()) for task, entry in entries.items()}
        intervals = {task: _ends(metric.ci) for task, metric in metrics.items()}
        return cls(str(folder), str(record.get("model", "")), outcomes, intervals)

    def measured(self, task: str, data_points: int) -> Measurement:
        outcomes = self.outcomes[task]
        problems = {problem: fmean(given) for problem, given in outcomes.correct.items()}
        return Measurement(data_points, fmean(problems.values()), self.intervals[task], problems)


def read_spendings(folders: Sequence[Path]) -> tuple[list[Spending], list[str]]:
    """The training runs among these folders, each with the evaluations of its models.

    An evaluation belongs to the run that wrote its model, at its end or in a checkpoint; one of the student that a run
    began with counts as measured before its first step.

    Args:
        folders: of training runs and of evaluations.

    Returns:
        The runs, under short names, and what is said of evaluations that belong to none.

    Raises:
        InputError: a folder is given twice, or holds neither; a run counts no data points; none is a run; or the same
            task was measured on other problems or with other settings.
    """
    check_once(folders)
    read = [_read(folder) for folder in folders]
    runs = [one for one in read if isinstance(one, Spending)]
    evaluations = [one for one in read if isinstance(one, _Evaluation)]
    if not runs:
        raise InputError("only evaluations were given: name the folders of the training runs too.")
    _check_settings([*evaluations, *(one for run in runs for one in _in_training(Path(run.name)).values())])
    notes = list(_repeated(evaluations))
    for evaluation in evaluations:
        joined = [_joined(run, evaluation) for run in runs]
        if joined == runs:
            notes.append(f"{evaluation.name} is of {evaluation.model}, which none of the runs wrote: it is left out")
        runs = joined
    names = short_names([Path(run.name) for run in runs])
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)], notes


def _read(folder: Path) -> Spending | _Evaluation:
    if (folder / EVALUATION_FILE).is_file():
        return _Evaluation.read(folder)
    if not (folder / RUN_FILE).is_file():
        raise InputError(
            f"{folder} has neither {RUN_FILE} nor {EVALUATION_FILE}: give the output folder of a finished run or "
            "evaluation."
        )
    return _spending(folder, read_run(folder))


def _spending(folder: Path, run: dict[str, Any]) -> Spending:
    missing = [name for name in _COUNTED if name not in run]
    if missing:
        raise InputError(
            f"{folder}/{RUN_FILE} has no {', '.join(missing)}, because an earlier version wrote it or it is not of a "
            "run: repeat the run, or leave it out."
        )
    record = checked(CostRecord, run, folder / RUN_FILE)
    return Spending(
        name=str(folder),
        method=Method.SFT if Part.SFT_STEP in record.tokens else Method.OPD,
        student=_identity(record.student),
        teacher=record.teacher or "",
        model=str(RunFolder(folder).model.resolve()),
        data_points=record.data_points,
        num_examples=record.num_examples or 0,
        tokens=record.tokens,
        flops={part: record.flops[part] for part in Part if part in record.flops},
        seconds=record.seconds,
        assumptions=tuple(record.flops_assumptions or ()),
        accuracy=_accuracy(folder, record),
    )


def _accuracy(folder: Path, run: CostRecord) -> dict[str, tuple[Measurement, ...]]:
    """What was measured in training: by steps, all of which consume as many data points."""
    entries = run.accuracy or {}
    steps = [row["step"] for row in run.history or () if isinstance(row.get("step"), int)]
    steps += [entry.step for rows in entries.values() for entry in rows]
    last = max(steps, default=0) or 1
    evaluations = _in_training(folder)
    return {
        task: tuple(
            _of_step(entry, task, round(run.data_points * entry.step / last), evaluations.get(entry.step))
            for entry in sorted(rows, key=lambda entry: entry.step)
        )
        for task, rows in entries.items()
    }


def _of_step(entry: StepAccuracy, task: str, data_points: int, found: _Evaluation | None) -> Measurement:
    if found is not None and task in found.outcomes:
        return found.measured(task, data_points)
    return Measurement(data_points, entry.mean, _ends(entry.ci))


def _in_training(folder: Path) -> dict[int, _Evaluation]:
    """Step -> the evaluation that a run made there."""
    return {step: _Evaluation.read(path.parent) for step, path in evaluations_of(folder).items()}


def _check_settings(evaluations: Sequence[_Evaluation]) -> None:
    """Accuracies on other problems, or sampled otherwise, do not compare."""
    for task in sorted({task for one in evaluations for task in one.outcomes}):
        check_agreement([(one.name, one.outcomes[task]) for one in evaluations if task in one.outcomes])


def _repeated(evaluations: Sequence[_Evaluation]) -> Iterator[str]:
    """Of evaluations of one model on one task, the last one counts."""
    seen: dict[tuple[str, str], str] = {}
    for one in evaluations:
        for task in one.outcomes:
            before = seen.get((_identity(one.model), task))
            if before is not None:
                yield f"{before} and {one.name} are of one model on {task}: the latter counts"
            seen[_identity(one.model), task] = one.name


def _joined(run: Spending, evaluation: _Evaluation) -> Spending:
    """The run with an evaluation of one of its models, if it is of one."""
    data_points = _data_points(run, _identity(evaluation.model))
    if data_points is None:
        return run
    accuracy = {task: list(points) for task, points in run.accuracy.items()}
    for task in evaluation.outcomes:
        others = [point for point in accuracy.get(task, []) if point.data_points != data_points]
        accuracy[task] = sorted([*others, evaluation.measured(task, data_points)], key=lambda one: one.data_points)
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


def _ends(ci: Ends | None) -> tuple[float, float] | None:
    return None if ci is None or ci[0] is None or ci[1] is None else (ci[0], ci[1])


def _identity(model: str) -> str:
    """An absolute path if there is such a folder, or a hub id."""
    return str(Path(model).resolve()) if Path(model).exists() else model
