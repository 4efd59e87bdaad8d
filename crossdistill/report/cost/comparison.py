"""Distillation against SFT followed on: what SFT would take to reach the same accuracy.

Breaking the Tokenizer Barrier, section 5.3: the accuracies of SFT runs of several sizes give a line over the logarithm
of the data (:mod:`crossdistill.eval.cost_fit`). Where it reaches the accuracy of a distilled student, less what that
student's start had seen, is the data that SFT would need in place of distillation. Compute efficiency is the FLOPs of
that data over the FLOPs of the distillation.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from crossdistill.errors import InputError
from crossdistill.eval.cost_fit import FEWEST_FOR_SCATTER, LogLine, needed_by_problems
from crossdistill.report.cost.spending import Measurement, Method, Spending

_Z = 1.959963984540054  # by which half the width of a 95 % interval is a standard error
_TOLERANCE = 0.05  # of a measurement without an interval
FAR = 10
"""How many times the largest amount of data a line is followed without a remark."""
BY_PROBLEMS = "bootstrap over problems; the chance of another training is not in it"
BY_SCATTER = "scatter about the line (Fieller); the reached accuracy with its own interval"
NO_INTERVAL = (
    "no interval: two measurements lie on their line, so it takes a third one, or results of single problems for all"
)


@dataclass(frozen=True)
class Total:
    """A measurement with all the data that its student has seen since the first start, in SFT and in distillation."""

    run: Spending
    data_points: int
    measured: Measurement


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval.

    Attributes:
        value: infinite if it is not reached.
        ends: the upper one infinite if it is unbounded; None if there is no interval.
    """

    value: float
    ends: tuple[float, float] | None = None

    def mapped(self, function: Callable[[float], float]) -> "Interval":
        """The image under a monotonic function."""
        ends = None if self.ends is None else sorted(map(function, self.ends))
        return Interval(function(self.value), None if ends is None else (ends[0], ends[1]))


@dataclass(frozen=True)
class Comparison:
    """A distillation, and SFT that would reach as far.

    Attributes:
        run: the distillation.
        reached: its last accuracy.
        started: accuracy of the student that it began with; None if it was not measured.
        start_points: data of SFT that this student had seen.
        needed: data of SFT in all to reach the same accuracy.
        additional: that without `start_points`.
        data_share: data points of the distillation over the additional ones.
        teacher_flops, student_flops: of the additional data; None if they are not known.
        efficiency: FLOPs of the additional data over those of the distillation; None if they are not known.
        measured: the least data with which SFT was measured to reach as far; None if it was not.
    """

    run: Spending
    reached: Measurement
    started: float | None
    start_points: int
    needed: Interval
    additional: Interval
    data_share: Interval
    teacher_flops: Interval | None
    student_flops: Interval | None
    efficiency: Interval | None
    measured: Total | None


@dataclass(frozen=True)
class CostReport:
    """What a set of runs cost, and the comparison on a task.

    Attributes:
        runs: all of them.
        task: on which they are compared; None if none was measured.
        sft, opd: what was measured, by the data seen.
        line: through the measurements of SFT; None if there is none.
        method: of the intervals, in words; empty without a line.
        comparisons: one for each distillation that was measured.
        notes: what is missing or assumed, in words.
    """

    runs: tuple[Spending, ...]
    task: str | None
    sft: tuple[Total, ...] = ()
    opd: tuple[Total, ...] = ()
    line: LogLine | None = None
    method: str = ""
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()


def compare(runs: Sequence[Spending], task: str | None = None, remarks: Sequence[str] = ()) -> CostReport:
    """Compare runs by what they cost.

    Args:
        runs: trainings by SFT and by distillation.
        task: on which accuracies are compared; by default the only one that was measured.
        remarks: for the notes, of what was read.

    Raises:
        InputError: runs were measured on several tasks and none is named, or none on the one that is.
    """
    notes = [*remarks, *(f"{run.name}: {text}" for run in runs for text in run.assumptions)]
    chosen = _task(runs, task)
    if chosen is None:
        missing = "no run was measured on a task, so accuracies are not compared: give evaluations of the models too"
        return CostReport(tuple(runs), None, notes=(missing, *notes))
    unmeasured = [run.name for run in runs if not run.measured(chosen)]
    notes += [f"{name} was not measured on {chosen}: only its cost is shown" for name in unmeasured]
    sft, opd = (_totals(runs, method, chosen) for method in (Method.SFT, Method.OPD))
    fitted = [total for total in sft if total.data_points > 0]
    report = CostReport(tuple(runs), chosen, tuple(sft), tuple(opd))
    if len({total.data_points for total in fitted}) < 2:
        return replace(report, notes=(_too_few(fitted, chosen), *notes))
    line = LogLine.of([one.data_points for one in fitted], [one.measured.mean for one in fitted])
    notes[:0] = _misfits(fitted, line)
    if line.slope <= 0:
        notes.insert(0, f"SFT does not gain on {chosen} with data, so no amount of it is found to reach further")
    comparisons, method = [], ""
    for run in (run for run in runs if run.method is Method.OPD and run.measured(chosen)):
        problem = _no_common_start(run, runs)
        if problem:
            notes.insert(0, problem)
            continue
        compared, method, own = _compared(run, runs, fitted, line, chosen)
        comparisons.append(compared)
        notes[:0] = own
    return replace(report, line=line, method=method, comparisons=tuple(comparisons), notes=tuple(notes))


def seen_before(run: Spending, runs: Sequence[Spending]) -> int:
    """Data points of the SFT runs, among these, one after the other, of which a run's student is the last model."""
    return sum(before.data_points for before in _before(run, runs))


def _task(runs: Sequence[Spending], task: str | None) -> str | None:
    measured = sorted({name for run in runs for name in run.accuracy})
    if task is not None and task not in measured:
        raise InputError(f"no run was measured on {task!r}, only on {', '.join(measured) or 'nothing'}: name another.")
    if task is None and len(measured) > 1:
        raise InputError(f"the runs were measured on {', '.join(measured)}: choose one with --task.")
    return task or next(iter(measured), None)


def _totals(runs: Sequence[Spending], method: Method, task: str) -> list[Total]:
    return [
        Total(run, seen_before(run, runs) + one.data_points, one)
        for run in runs
        if run.method is method
        for one in run.measured(task)
    ]


def _too_few(fitted: Sequence[Total], task: str) -> str:
    if not fitted:
        return (
            f"no SFT run was measured on {task}, so nothing is extrapolated: fine-tune students of at least two sizes "
            "of data with `crossdistill sft`, and give their evaluations"
        )
    names = ", ".join(sorted({total.run.name for total in fitted}))
    return f"SFT was measured at one size of data ({names}), which gives no line: measure another size"


def _before(run: Spending, runs: Sequence[Spending]) -> Iterator[Spending]:
    """The SFT runs that led to a run's student, the last one first."""
    before = next((one for one in runs if one.method is Method.SFT and one.model == run.student), None)
    if before is not None:
        yield before
        yield from _before(before, [one for one in runs if one is not before])


def _first_student(run: Spending, runs: Sequence[Spending]) -> str:
    return [run, *_before(run, runs)][-1].student


def _no_common_start(run: Spending, runs: Sequence[Spending]) -> str | None:
    first = _first_student(run, runs)
    others = {_first_student(other, runs) for other in runs if other.method is Method.SFT}
    if others == {first}:
        return None
    return (
        f"{run.name} starts from {first}, and SFT from {', '.join(sorted(others))}: data that SFT would need in its "
        "place is not extrapolated"
    )


def _compared(
    run: Spending, runs: Sequence[Spending], fitted: Sequence[Total], line: LogLine, task: str
) -> tuple[Comparison, str, list[str]]:
    measured = run.measured(task)
    reached, start = measured[-1], seen_before(run, runs)
    ends, method = _needed_interval(fitted, line, reached)
    needed = Interval(line.needed(reached.mean), ends)
    additional = needed.mapped(lambda count: max(0.0, count - start))
    comparison = Comparison(
        run,
        reached,
        _started(run, runs, task),
        start,
        needed,
        additional,
        additional.mapped(lambda count: run.data_points / count if count else math.inf),
        *_flops(run, fitted, additional),
        min(
            (total for total in fitted if total.measured.mean >= reached.mean),
            key=lambda total: total.data_points,
            default=None,
        ),
    )
    return comparison, method, list(_remarks(comparison, fitted))


def _needed_interval(
    fitted: Sequence[Total], line: LogLine, reached: Measurement
) -> tuple[tuple[float, float] | None, str]:
    every = [*(total.measured for total in fitted), reached]
    problems = [one.problems for one in every if one.problems]
    if len(problems) == len(every) and all(one.keys() == problems[0].keys() for one in problems):
        rows = [[one[name] for name in problems[0]] for one in problems]
        return needed_by_problems(line.counts, rows[:-1], rows[-1]), BY_PROBLEMS
    if len(fitted) >= FEWEST_FOR_SCATTER:
        error = 0.0 if reached.ci is None else (reached.ci[1] - reached.ci[0]) / (2 * _Z)
        return line.needed_interval(reached.mean, error), BY_SCATTER
    return None, NO_INTERVAL


def _started(run: Spending, runs: Sequence[Spending], task: str) -> float | None:
    """Accuracy of a run's student before its first step: of that run, or at the end of the SFT run before."""
    own = [one.mean for one in run.measured(task) if one.data_points == 0]
    before = [one.measured(task)[-1].mean for one in runs if one.model == run.student and one.measured(task)]
    return next(iter([*own, *before]), None)


def _flops(
    run: Spending, fitted: Sequence[Total], additional: Interval
) -> tuple[Interval | None, Interval | None, Interval | None]:
    """FLOPs of the additional data by teacher and student, at the mean price of the SFT runs; and their ratio."""
    sft_runs = {total.run.name: total.run for total in fitted}.values()
    prices = [price for one in sft_runs if (price := one.flops_of_a_point) is not None]
    if len(prices) < len(sft_runs):
        return None, None, None
    teacher, student = (sum(price[side] for price in prices) / len(prices) for side in (0, 1))
    own = run.total_flops
    efficiency = None if not own else additional.mapped(lambda count: count * (teacher + student) / own)
    return additional.mapped(partial(_paid, teacher)), additional.mapped(partial(_paid, student)), efficiency


def _paid(price: float, count: float) -> float:
    """Nothing for what is free, whatever the count."""
    return price * count if price else 0.0


def _misfits(fitted: Sequence[Total], line: LogLine) -> list[str]:
    """Whether the line passes by what was measured, by more than the intervals of the measurements."""
    misses = [(abs(line.at(total.data_points) - total.measured.mean), total.measured) for total in fitted]
    if all(miss <= (_TOLERANCE if one.ci is None else (one.ci[1] - one.ci[0]) / 2) for miss, one in misses):
        return []
    most = max(miss for miss, _ in misses)
    return [
        f"the line passes what was measured by up to {100 * most:.1f} points: accuracy is not linear in the logarithm "
        "of these data, so that neither the extrapolation nor its interval holds"
    ]


def _remarks(comparison: Comparison, fitted: Sequence[Total]) -> Iterator[str]:
    run = comparison.run
    if comparison.additional.value == 0:
        yield f"{run.name} ends where SFT already is on its line at its start: there is nothing to extrapolate"
    unknown = ", ".join(part.value for part in run.unknown_parts)
    if unknown:
        yield f"{run.name}: the FLOPs of {unknown} are not known, so there is no compute efficiency"
    if comparison.teacher_flops is not None and comparison.teacher_flops.value == 0:
        yield "the responses of SFT were given: what its teacher spent on them is not counted, in favour of SFT"
    if any(total.run.data_points > total.run.num_examples > 0 and total.run.teacher_flops for total in fitted):
        yield "SFT repeated examples: a further data point counts as a new response, in favour of distillation"
    if (least := comparison.measured) is not None:
        where = f"{least.data_points:,} data points ({least.run.name})"
        yield f"SFT was measured to reach that of {run.name}, with {where}: nothing need be extrapolated"
    most = max(total.data_points for total in fitted)
    times = comparison.needed.value / most
    if math.isfinite(times) and times > FAR:
        yield f"{run.name}: the line is followed to {times:.3g} times the data that it was fitted on"
