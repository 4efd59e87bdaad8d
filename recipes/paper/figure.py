"""Figure 2 of the paper: AIME24 over the data that a student has seen, here and in the paper."""

import io
import math
from collections.abc import Sequence
from typing import Any

from crossdistill.extras import require
from crossdistill.report.cost.comparison import CostReport, Total
from recipes.paper.published import published

GREY, BLUE = "#777777", "#2266bb"


def figure_2(report: CostReport | None) -> str:
    """The figure as SVG; without a report, the paper's points alone.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a figure")
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    with matplotlib.rc_context({"svg.hashsalt": "figure 2", "text.parse_math": False}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        _draw_published(axes)
        if report is not None:
            _draw_here(axes, report)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 4.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("data points that the student has seen")
        axes.set_ylabel("AIME24, percent")
        axes.grid(visible=True, linewidth=0.5, alpha=0.5)
        axes.legend(frameon=False, fontsize=8)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None})
    return buffer.getvalue()


def _draw_published(axes: Any) -> None:
    paper = published()
    [(seen, start)] = paper.sft.items()
    opd = {seen: start, **{seen + more: accuracy for more, accuracy in paper.opd.items()}}
    reached = max(paper.opd.values())
    ends = [seen, seen + paper.sft_extrapolated]
    axes.plot(ends, [start, reached], ":s", color=GREY, mfc="none", label="paper: SFT, extrapolated")
    axes.plot(list(opd), list(opd.values()), ":s", color=BLUE, mfc="none", label="paper: OPD")


def _draw_here(axes: Any, report: CostReport) -> None:
    sft = [total for total in report.sft if total.data_points > 0]
    _draw_points(axes, sft, GREY, "o", "SFT")
    if report.line is not None and sft:
        measured = [total.data_points for total in sft]
        reached = [one.needed.value for one in report.comparisons if math.isfinite(one.needed.value)]
        ends = min(measured), max(measured), max([*measured, *reached])
        for low, high, style in ((*ends[:2], "-"), (*ends[1:], "--")):
            axes.plot([low, high], [100 * report.line.at(end) for end in (low, high)], style, color=GREY)
    for number, name in enumerate(dict.fromkeys(total.run.name for total in report.opd)):
        own = [total for total in report.opd if total.run.name == name]
        _draw_points(axes, own, BLUE, "-o", "OPD" if number == 0 else None)


def _draw_points(axes: Any, totals: Sequence[Total], colour: str, style: str, label: str | None) -> None:
    ordered = sorted(totals, key=lambda total: total.data_points)
    axes.plot([one.data_points for one in ordered], [100 * one.measured.mean for one in ordered], style, color=colour)
    if ordered and label:
        axes.lines[-1].set_label(f"here: {label}")
    for one in ordered:
        if one.measured.ci is not None:
            axes.plot([one.data_points] * 2, [100 * end for end in one.measured.ci], color=colour, alpha=0.5)
