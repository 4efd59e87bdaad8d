"""The tables of a cost report, as texts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.costs import Part
from crossdistill.report.cost.comparison import Comparison, CostReport, Interval
from crossdistill.report.cost.spending import Measurement, Method
from crossdistill.report.format import MISSING, count, duration, percent

UNBOUNDED = "unbounded"
UNKNOWN = "not known"
_NAMES = {
    Part.STUDENT_ROLLOUT: "student rollout",
    Part.STUDENT_SCORE: "student score",
    Part.STUDENT_STEP: "student step",
    Part.TEACHER_PREFILL: "teacher prefill",
    Part.TEACHER_ROLLOUT: "teacher rollout",
    Part.SFT_STEP: "student step",
}


@dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        title: of the table.
        header: names of the columns; the first holds names, the others numbers.
        rows: texts.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        """The table without its title, as Markdown."""
        lines = [self.header, ("---", *["---:"] * (len(self.header) - 1)), *self.rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def tables(report: CostReport) -> list[TextTable]:
    """What each run cost, its parts, and each distillation against SFT."""
    return [_costs(report), _parts(report), *(_comparison(one, report) for one in report.comparisons)]


def summaries(report: CostReport) -> Iterator[str]:
    """One sentence for each comparison."""
    for one in report.comparisons:
        if one.measured is not None:
            more = max(0, one.measured.data_points - one.start_points)
            yield (
                f"SFT was measured to reach the {percent(one.reached.mean)} of {one.run.name} on {report.task}, with "
                f"{count(more)} more data points ({one.measured.run.name}); the distillation took "
                f"{count(one.run.data_points)}."
            )
            continue
        if not math.isfinite(one.needed.value):
            yield f"SFT is not found to reach the {percent(one.reached.mean)} of {one.run.name}."
            continue
        efficiency = "" if one.efficiency is None else f", at {_times(one.efficiency)} the FLOPs of {one.run.name}"
        yield (
            f"To reach {percent(one.reached.mean)} on {report.task}, SFT would take {_about(one.additional, _rounded)} "
            f"more data points{efficiency}; the distillation took {count(one.run.data_points)}, "
            f"{_about(one.data_share, percent)} of that."
        )


def _costs(report: CostReport) -> TextTable:
    header = ("run", "method", "data points", "tokens", "FLOPs", "time")
    accuracy = () if report.task is None else (f"{report.task}, 95 % interval",)
    rows = (
        (
            run.name,
            run.method.value,
            count(run.data_points),
            count(run.tokens.get(Part.SFT_STEP if run.method is Method.SFT else Part.STUDENT_STEP)),
            flops(run.total_flops),
            duration(run.seconds),
            *(() if report.task is None else (_last(run.measured(report.task)),)),
        )
        for run in report.runs
    )
    return TextTable("What the runs cost", (*header, *accuracy), tuple(rows))


def _parts(report: CostReport) -> TextTable:
    rows = (
        (run.name, _NAMES[part], count(tokens), UNKNOWN if part in run.unknown_parts else flops(run.flops.get(part)))
        for run in report.runs
        for part, tokens in run.tokens.items()
        if tokens
    )
    return TextTable("By part", ("run", "part", "tokens", "FLOPs"), tuple(rows))


def _comparison(one: Comparison, report: CostReport) -> TextTable:
    start = "start" if not one.start_points else f"start: SFT on {count(one.start_points)}"
    rows = (
        (start, percent(one.started), MISSING, MISSING, MISSING, MISSING),
        (
            "SFT, extrapolated",
            percent(one.reached.mean),
            f"+{_about(one.additional, _rounded)}",
            _about(one.teacher_flops, flops),
            _about(one.student_flops, flops),
            "1.0",
        ),
        (
            one.run.name,
            percent(one.reached.mean),
            f"+{count(one.run.data_points)}",
            flops(one.run.teacher_flops),
            flops(one.run.student_flops),
            UNKNOWN if one.efficiency is None else _times(one.efficiency),
        ),
        ("share of the data", MISSING, _about(one.data_share, percent), MISSING, MISSING, MISSING),
    )
    header = ("method", str(report.task), "data", "teacher FLOPs", "student FLOPs", "compute efficiency")
    return TextTable(f"{one.run.name} against SFT", header, rows)


def flops(value: Any) -> str:
    """A number of operations: three digits and a power of ten; "not known" for None.

    Example:
        >>> flops(3.2e18), flops(None), flops(math.inf)
        ('3.20e18', 'not known', 'unbounded')
    """
    if value is None:
        return UNKNOWN
    if math.isinf(value):
        return UNBOUNDED
    return "0" if not value else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")


def _last(measured: tuple[Measurement, ...]) -> str:
    if not measured:
        return MISSING
    last = measured[-1]
    ends = "" if last.ci is None else f" ({percent(last.ci[0])} to {percent(last.ci[1])})"
    return f"{percent(last.mean)}{ends}"


def _about(interval: Interval | None, show: Callable[[float], str]) -> str:
    """A value with its interval, as texts."""
    if interval is None:
        return UNKNOWN
    ends = "" if interval.ends is None else f" ({_end(interval.ends[0], show)} to {_end(interval.ends[1], show)})"
    return f"{_end(interval.value, show)}{ends}"


def _end(value: float, show: Callable[[float], str]) -> str:
    return UNBOUNDED if math.isinf(value) else show(value)


def _rounded(value: float) -> str:
    """A count to three digits: it was extrapolated."""
    return count(float(f"{value:.3g}"))


def _times(interval: Interval) -> str:
    return _about(interval, lambda value: f"{value:.3g}x" if value < 1000 else f"{value:,.0f}x")
