"""The figure of a cost report: accuracy over the data seen, as figure 2 of Breaking the Tokenizer Barrier."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossdistill.report.charts import INK, SERIES, drawn
from crossdistill.report.cost.comparison import CostReport, Total

_FEW = 40  # times the smallest amount, below which powers of ten alone would be too few labels
_FARTHEST = 1_000
"""How many times the largest amount of data the figure goes on."""


def cost_figure(report: CostReport) -> str | None:
    """Accuracy over data points, on a logarithmic axis, as an ``<svg>`` element; None if nothing was measured.

    SFT as grey points on their line, which is dashed where it is extrapolated; each distillation in a colour.

    Raises:
        InputError: matplotlib is not installed.
    """
    if not any(total.data_points > 0 for total in (*report.sft, *report.opd)):
        return None
    title = f"Accuracy on {report.task} over data points"
    return drawn(title, "data points", str(report.task), lambda axes: _draw(axes, report))


def _draw(axes: Any, report: CostReport) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    sft = [total for total in report.sft if total.data_points > 0]
    axes.plot(*_points(sft), "o", color=INK, markersize=5, alpha=0.75, label="SFT")
    if report.line is not None:
        _draw_line(axes, report, sft)
    runs = {total.run.name: total.run for total in report.opd}
    for number, name in enumerate(runs):
        own = [total for total in report.opd if total.run.name == name and total.data_points > 0]
        colour = SERIES[number % len(SERIES)]
        axes.plot(*_points(own), "-o", color=colour, markersize=5, linewidth=1.8, label=_in_legend(name))
        _draw_intervals(axes, own, colour)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _FEW * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.legend(frameon=False)


def _draw_line(axes: Any, report: CostReport, sft: Sequence[Total]) -> None:
    assert report.line is not None
    fitted = [total.data_points for total in sft]
    ends = [one.needed.value for one in report.comparisons if math.isfinite(one.needed.value)]
    farthest = min(max([*fitted, *ends]), _FARTHEST * max(fitted))
    for (low, high), style in (((min(fitted), max(fitted)), "-"), ((max(fitted), farthest), "--")):
        if high > low:
            axes.plot(
                [low, high], [report.line.at(low), report.line.at(high)], style, color=INK, alpha=0.45, linewidth=1.6
            )
    shown = [(end, report.line.at(end)) for end in ends if end <= farthest]
    if shown:
        axes.plot(*zip(*shown, strict=True), "o", mfc="none", color=INK, markersize=7, label="SFT, extrapolated")


def _in_legend(name: str) -> str:
    """The last part of a path; matplotlib leaves names out of a legend that begin with an underscore."""
    return Path(name).name.lstrip("_")


def _draw_intervals(axes: Any, totals: Sequence[Total], colour: str) -> None:
    for total in totals:
        if total.measured.ci is not None:
            axes.plot([total.data_points] * 2, total.measured.ci, "-", color=colour, linewidth=0.9, alpha=0.5)


def _points(totals: Sequence[Total]) -> tuple[list[int], list[float]]:
    ordered = sorted(totals, key=lambda total: total.data_points)
    return [total.data_points for total in ordered], [total.measured.mean for total in ordered]
