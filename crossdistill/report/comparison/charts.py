"""Accuracy in training: the curves of all runs over each other, against each cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

from crossdistill.eval.comparison.comparison import Comparison, Row
from crossdistill.eval.comparison.reach import COSTS
from crossdistill.extras import require
from crossdistill.report.charts import LINE_STYLES, SERIES, Chart, End, drawn, end_labels, label_ends, show_shares
from crossdistill.report.curves import HIGHER
from crossdistill.report.format import percent

_LOOKS = [(colour, style) for style, colour in product(LINE_STYLES, SERIES)]
_DASHES = dict(zip(LINE_STYLES, ("none", "6 3", "2 3"), strict=True))


@dataclass(frozen=True)
class LegendEntry:
    """How a curve looks, for the legend that the charts of a task share.

    Attributes:
        number: beside the end of the curve, if that does not have the name; else empty.
        name: of the run.
        colour: in CSS.
        dashes: of its line, as SVG's stroke-dasharray.
        ends: its first and last accuracy, in words.
    """

    number: str
    name: str
    colour: str
    dashes: str
    ends: str


def comparison_charts(comparison: Comparison) -> list[Chart]:
    """One chart of the accuracy for each cost that a curve has; none if no row has a curve.

    Bands are the 95 % intervals of the evaluations; of several seeds, the range over them.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a chart")
    rows = [row for row in comparison.rows if row.curve]
    charts = []
    for cost, name in COSTS.items():
        with_cost = [row for row in rows if all(cost in point.costs for point in row.curve)]
        if with_cost:
            charts.append(_chart(comparison, with_cost, cost, name, _looks(rows)))
    return charts


def legend(comparison: Comparison) -> list[LegendEntry]:
    """The curves of :func:`comparison_charts`, in their order."""
    rows = [row for row in comparison.rows if row.curve]
    looks = _looks(rows)
    return [
        LegendEntry(
            number="" if label == row.name else label,
            name=row.name,
            colour=f"var(--series{1 + SERIES.index(looks[row.name][0])})",
            dashes=_DASHES[looks[row.name][1]],
            ends=f"{percent(row.curve[0].accuracy)} to {percent(row.curve[-1].accuracy)}",
        )
        for row, label in zip(rows, end_labels([row.name for row in rows]), strict=True)
    ]


def _looks(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Name -> colour and style of its line; they repeat after 18."""
    return {row.name: look for row, look in zip(rows, cycle(_LOOKS), strict=False)}


def _chart(
    comparison: Comparison, rows: Sequence[Row], cost: str, name: str, looks: dict[str, tuple[str, str]]
) -> Chart:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    labels = dict(zip(looks, end_labels(list(looks)), strict=True))

    def draw(axes: Any) -> None:
        ends = [_draw_curve(axes, row, cost, labels[row.name], *looks[row.name]) for row in rows]
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=cost == "step", steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        show_shares(
            axes, max(end for row in rows for point in row.curve for end in (point.accuracy, *(point.ci or ())))
        )
        label_ends(axes, ends)

    svg = drawn(f"{comparison.task}: accuracy over {name}", name, "", draw)
    return Chart(f"Accuracy over {name}", svg, HIGHER)


def _draw_curve(axes: Any, row: Row, cost: str, label: str, colour: str, style: str) -> End:
    spent = [point.costs[cost] for point in row.curve]
    accuracies = [point.accuracy for point in row.curve]
    axes.plot(spent, accuracies, style, color=colour, linewidth=1.8, marker="o", markersize=3)
    ends = [point.ci for point in row.curve if point.ci is not None]
    if len(ends) == len(row.curve):
        axes.fill_between(spent, *zip(*ends, strict=True), color=colour, alpha=0.12, linewidth=0)
    return End(label, spent[-1], accuracies[-1], colour)
