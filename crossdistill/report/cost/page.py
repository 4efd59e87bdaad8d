"""A cost report as one HTML file that loads nothing and runs no script, and as Markdown."""

import math
from pathlib import Path
from typing import Any

from crossdistill.files import write_text
from crossdistill.report.cost.comparison import CostReport, Interval
from crossdistill.report.cost.figure import cost_figure, figure_legend
from crossdistill.report.cost.tables import summaries, tables
from crossdistill.report.html import environment


def write_cost_page(path: str | Path, report: CostReport) -> None:
    """Write a cost report as one self-contained file, atomically.

    Raises:
        InputError: the extra ``report`` is not installed.
    """
    context = {
        "report": report,
        "tables": tables(report),
        "summaries": list(summaries(report)),
        "figure": cost_figure(report),
        "legend": figure_legend(report),
    }
    write_text(path, environment().get_template("cost.html.j2").render(context))


def write_cost_markdown(path: str | Path, report: CostReport) -> None:
    """Write the tables and notes of a cost report as Markdown, atomically."""
    blocks = [f"**{table.title}**\n\n{table.markdown}" for table in tables(report)]
    blocks += list(summaries(report))
    blocks += [f"95 % intervals: {report.method}."] if report.method else []
    blocks += ["\n".join(f"- {note}" for note in report.notes)] if report.notes else []
    write_text(path, "\n\n".join(blocks) + "\n")


def as_dict(report: CostReport) -> dict[str, Any]:
    """A cost report as plain data; an interval without an upper end has None there, and so has what is not known."""
    return {
        "task": report.task,
        "runs": [
            {
                "name": run.name,
                "method": run.method.value,
                "data_points": run.data_points,
                "tokens": {part.value: number for part, number in run.tokens.items()},
                "flops": {part.value: number for part, number in run.flops.items()},
                "teacher_flops": run.teacher_flops,
                "student_flops": run.student_flops,
                "total_flops": run.total_flops,
                "seconds": run.seconds,
                "accuracy": [
                    {"data_points": one.data_points, "mean": one.mean, "ci": one.ci}
                    for one in (run.measured(report.task) if report.task else ())
                ],
            }
            for run in report.runs
        ],
        "line": None if report.line is None else {"slope": report.line.slope, "intercept": report.line.intercept},
        "intervals": report.method,
        "comparisons": [
            {
                "run": one.run.name,
                "accuracy": one.reached.mean,
                "started": one.started,
                "start_points": one.start_points,
                **{name: _plain(getattr(one, name)) for name in _INTERVALS},
            }
            for one in report.comparisons
        ],
        "notes": list(report.notes),
    }


_INTERVALS = ("needed", "additional", "data_share", "teacher_flops", "student_flops", "efficiency")


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    ends = None if interval.ends is None else [_finite(end) for end in interval.ends]
    return {"value": _finite(interval.value), "ci": ends}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
