"""The figure of a cost report: accuracy over the data seen, as figure 2 of Breaking the Tokenizer Barrier."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossdistill.report.charts import INK, SERIES, End, drawn, end_labels, label_ends
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
    return drawn(title, "data points", "", lambda axes: _draw(axes, report))


def figure_legend(report: CostReport) -> list[tuple[str, str, str]]:
    """(label beside the curve, colour in CSS, name) of each distillation in the figure."""
    names = _names(report)
    return [
        (label, f"var(--series{1 + number % len(SERIES)})", Path(name).name)
        for number, (name, label) in enumerate(zip(names, _labels(names), strict=True))
    ]


def _names(report: CostReport) -> list[str]:
    return list(dict.fromkeys(total.run.name for total in report.opd))


def _labels(names: Sequence[str]) -> list[str]:
    return end_labels([Path(name).name for name in names])


def _draw(axes: Any, report: CostReport) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, PercentFormatter

    sft = [total for total in report.sft if total.data_points > 0]
    axes.plot(*_points(sft), "o", color=INK, markersize=5, alpha=0.75)
    if report.line is not None:
        _draw_line(axes, report, sft)
    ends = [End("SFT", points[-1], means[-1], INK) for points, means in [_points(sft)] if points]
    for number, (name, label) in enumerate(zip(names := _names(report), _labels(names), strict=True)):
        own = [total for total in report.opd if total.run.name == name and total.data_points > 0]
        colour = SERIES[number % len(SERIES)]
        points, means = _points(own)
        axes.plot(points, means, "-o", color=colour, markersize=5, linewidth=1.8)
        _draw_intervals(axes, own, colour)
        ends += [End(label, points[-1], means[-1], colour)] if points else []
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _FEW * low else (1.0,)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    label_ends(axes, ends)


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
        axes.plot(*zip(*shown, strict=True), "o", mfc="none", color=INK, markersize=7)


def _draw_intervals(axes: Any, totals: Sequence[Total], colour: str) -> None:
    for total in totals:
        if total.measured.ci is not None:
            axes.plot([total.data_points] * 2, total.measured.ci, "-", color=colour, linewidth=0.9, alpha=0.5)


def _points(totals: Sequence[Total]) -> tuple[list[int], list[float]]:
    ordered = sorted(totals, key=lambda total: total.data_points)
    return [total.data_points for total in ordered], [total.measured.mean for total in ordered]
