"""Validation accuracy in training: the methods of a pair over each other, and each method's rates as small lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossdistill.extras import require
from crossdistill.report.arena.tables import Content, rows_of, share_or_missing
from crossdistill.report.charts import INK, SERIES, Chart, End, drawn, end_labels, label_ends, show_shares
from crossdistill.report.curves import HIGHER

_WIDTH, _HEIGHT = 100.0, 24.0
"""Of a small line's box."""


@dataclass(frozen=True)
class Entry:
    """A curve in the legend of its chart.

    Attributes:
        number: beside the end of the curve, if that does not have the name; else empty.
        name: of the method.
        colour: in CSS.
        end: its last accuracy, in percent.
    """

    number: str
    name: str
    colour: str
    end: str


def curve_charts(content: Content, pair: str) -> list[tuple[Chart, list[Entry]]]:
    """Accuracy over responses, with the intervals over seeds as bands: at most six curves a chart, the best first.

    Args:
        content: of ``arena.json``.
        pair: name of one of its pairs.

    Returns:
        Charts and their legends, the controls' at the end; all have the same vertical axis. Empty without curves.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a chart")
    methods, controls = (
        [row for row in rows_of(content, pair, kind) if row["curve"]] for kind in ("method", "control")
    )
    groups = [*_named("methods", methods), *_named("controls", controls)]
    points = [point for _, rows in groups for row in rows for point in row["curve"]]
    top = max((end for point in points for end in (point["mean"], *(point["ci"] or ()))), default=0.0)
    reach = content["rules"]["file"]["reach"]
    return [(_chart(pair, name, rows, top, reach), _legend(rows)) for name, rows in groups]


def spark(curve: Sequence[Content]) -> str:
    """The path of a small line, for an SVG's box of 100 x 24: accuracy from 0 to 1 by step; empty without a curve.

    Example:
        >>> spark([{"step": 0, "mean": 0.5}, {"step": 10, "mean": 1.0}])
        'M0.0,12.0 100.0,0.0'
        >>> spark([])
        ''
    """
    last = max((point["step"] for point in curve), default=0)
    points = [
        f"{_WIDTH * point['step'] / last if last else 0.0:.1f},{_HEIGHT * (1 - point['mean']):.1f}" for point in curve
    ]
    return f"M{' '.join(points)}" if points else ""


def _named(name: str, rows: Sequence[Content]) -> Iterator[tuple[str, Sequence[Content]]]:
    groups = [rows[begin : begin + len(SERIES)] for begin in range(0, len(rows), len(SERIES))]
    for number, group in enumerate(groups, 1):
        yield (name if len(groups) == 1 else f"{name}, part {number} of {len(groups)}"), group


def _legend(rows: Sequence[Content]) -> list[Entry]:
    names = [row["method"] for row in rows]
    return [
        Entry(
            "" if label == row["method"] else label,
            row["method"],
            f"var(--series{number})",
            share_or_missing(row["curve"][-1]["mean"]),
        )
        for number, (row, label) in enumerate(zip(rows, end_labels(names), strict=True), 1)
    ]


def _chart(pair: str, name: str, rows: Sequence[Content], top: float, reach: float | None) -> Chart:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def draw(axes: Any) -> None:
        if reach is not None:
            axes.axhline(reach, color=INK, linewidth=0.8, linestyle=":")
        labels = end_labels([row["method"] for row in rows])
        ends = [
            _draw_curve(axes, row["curve"], label, colour)
            for row, label, colour in zip(rows, labels, SERIES, strict=False)
        ]
        show_shares(axes, max(top, reach or 0.0))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        label_ends(axes, ends)

    return Chart(name, drawn(f"{pair}: {name}", "responses", "", draw), HIGHER)


def _draw_curve(axes: Any, curve: Sequence[Content], label: str, colour: str) -> End:
    responses, means = ([point[key] for point in curve] for key in ("responses", "mean"))
    axes.plot(responses, means, color=colour, linewidth=1.8, marker="o", markersize=3)
    if all(point["ci"] is not None for point in curve):  # one seed has no interval
        low, high = zip(*(point["ci"] for point in curve), strict=True)
        axes.fill_between(responses, low, high, color=colour, alpha=0.15, linewidth=0)
    return End(label, responses[-1], means[-1], colour)
