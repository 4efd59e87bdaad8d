"""Learning curves as inline SVG, drawn by matplotlib without its global state."""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import Any

from crossdistill.extras import require

# placeholder colours, replaced by the page's own variables in the finished SVG: one drawing serves light and dark mode
INK, _LINE, _RAW, _GRID = "#010203", "#010204", "#010205", "#010206"
SERIES = tuple(f"#01021{number}" for number in range(1, 7))
"""Colours of curves that are drawn over each other."""
_VARIABLES = {
    **{INK: "var(--ink)", _LINE: "var(--line)", _RAW: "var(--raw)", _GRID: "var(--grid)"},
    **{colour: f"var(--series{number})" for number, colour in enumerate(SERIES, 1)},
}
_STYLE = {
    "svg.fonttype": "none",  # keep text as text, in the page's font
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NUM_POINTS_TO_SMOOTH = 60


@dataclass(frozen=True)
class Curve:
    """A chart to draw from the history.

    Attributes:
        lines: key in the rows of the history -> name in the legend, empty if the line is alone.
        title: of the chart.
        unit: label of the vertical axis.
    """

    lines: dict[str, str]
    title: str
    unit: str


CURVES = (
    Curve({"teacher_gap": ""}, "Gap to the teacher", "nats per byte"),
    Curve(
        {"teacher_gap/digits": "digits", "teacher_gap/white_space": "white space", "teacher_gap/rest": "the rest"},
        "Gap to the teacher by kind of byte",
        "nats per byte",
    ),
    Curve({"loss": "in training", "eval_loss": "held out"}, "Loss", "loss"),
    Curve({"coverage": ""}, "Supervised share of the sampled bytes", "share"),
    Curve({"completions/mean_length": ""}, "Response length", "tokens"),
    Curve({"stopped": ""}, "Responses that ended by themselves", "share"),
    Curve({"share/digits": "digits", "share/white_space": "white space"}, "Kinds of sampled bytes", "share"),
    Curve({"accuracy": ""}, "Accuracy", "share"),
    Curve(
        {"mean_token_accuracy": "in training", "eval_mean_token_accuracy": "held out"},
        "Accuracy of the next token",
        "share",
    ),
    Curve({"entropy": "in training", "sampled_entropy": "of the samples"}, "Entropy of the student", "nats per token"),
)
LINE_STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class Chart:
    """A finished chart.

    Attributes:
        title: of the chart.
        svg: an ``<svg>`` element without external resources.
        caption: the first and last value of each line, in words.
    """

    title: str
    svg: str
    caption: str


def accuracy_charts(accuracy: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """One chart for each task, with the 95 % intervals as a band.

    Args:
        accuracy: of ``run.json``: name of the task -> points with ``step``, ``mean`` and ``ci``.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a chart")
    charts = []
    for name, points in accuracy.items():
        known = [point for point in points if _is_number(point, "step") and _is_number(point, "mean")]
        bands = [point.get("ci") or (point["mean"], point["mean"]) for point in known]
        line = _Line("", [point["step"] for point in known], [point["mean"] for point in known], bands)
        if known:
            curve = Curve({}, f"Accuracy on {name}", "share")
            charts.append(Chart(curve.title, _draw(curve, [line]), line.caption))
    return charts


def learning_curves(history: Iterable[dict[str, Any]]) -> list[Chart]:
    """One chart for each curve that has a finite value in `history`; rows without a step or a value are skipped.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a chart")
    rows = list(history)
    charts = []
    for curve in CURVES:
        lines = [_Line(name, *points) for key, name in curve.lines.items() if (points := _points(rows, key))]
        if lines:
            caption = "; ".join(line.caption for line in lines)
            charts.append(Chart(curve.title, _draw(curve, lines), caption))
    return charts


@dataclass(frozen=True)
class _Line:
    name: str
    steps: list[float]
    values: list[float]
    band: Sequence[Sequence[float]] | None = None  # ends of the interval of each value

    @property
    def caption(self) -> str:
        ends = ((self.values[at], self.steps[at]) for at in (0, -1))
        return f"{self.name} ".lstrip() + ", ".join(f"{value:.4g} at step {step:g}" for value, step in ends)


def _points(rows: Sequence[dict[str, Any]], key: str) -> tuple[list[float], list[float]] | None:
    """Steps and values; None if there are none."""
    points = [(row["step"], row[key]) for row in rows if _is_number(row, "step") and _is_number(row, key)]
    return ([step for step, _ in points], [value for _, value in points]) if points else None


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """A centred moving average, so that it does not lag: over `reach` values on each side, fewer near the ends.

    Example:
        >>> smoothed([1.0, 2.0, 6.0], 1)
        [1.5, 3.0, 4.0]
    """
    return [fmean(values[max(0, index - reach) : index + reach + 1]) for index in range(len(values))]


def _is_number(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, int | float) and math.isfinite(value)


def _draw(curve: Curve, lines: Sequence[_Line]) -> str:
    def draw(axes: Any) -> None:
        for line, style in zip(lines, LINE_STYLES, strict=False):
            _draw_line(axes, line, style, shows_raw=len(lines) == 1)
        if len(lines) > 1:
            axes.legend(frameon=False)

    return drawn(curve.title, "step", curve.unit, draw)


def drawn(title: str, x_label: str, unit: str, draw: Callable[[Any], None]) -> str:
    """A chart as an ``<svg>`` element in the page's colours and font.

    Args:
        title: of the chart; unique in its page.
        x_label: of the horizontal axis.
        unit: label of the vertical axis.
        draw: draws on the ``Axes`` of matplotlib, in the colours INK and SERIES.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # ids of clip paths and markers are derived from the salt, and must differ between the charts of a page
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(unit)
        buffer = io.StringIO()
        metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return _for_page(buffer.getvalue(), title)


def _draw_line(axes: Any, line: _Line, style: str, shows_raw: bool) -> None:
    """Draw one line, smoothed if it has many points; `shows_raw` draws those behind it."""
    values = line.values
    if line.band is None and len(values) >= _NUM_POINTS_TO_SMOOTH:
        if shows_raw:
            axes.plot(line.steps, values, color=_RAW, linewidth=0.8)
        values = smoothed(values, len(values) // 40)
    if line.band is not None:
        axes.fill_between(line.steps, *zip(*line.band, strict=True), color=_LINE, alpha=0.2, linewidth=0)
    marker = "o" if len(values) < 3 or line.band is not None else None
    axes.plot(line.steps, values, style, color=_LINE, linewidth=1.8, marker=marker, markersize=4, label=line.name)


def _for_page(svg: str, title: str) -> str:
    """The <svg> element alone: scalable, in the page's colours and font, without the ids of its groups."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--sans)", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" role="img" aria-label="{escape(title)}">',
        svg,
        count=1,
    )
    svg = svg.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.strip()
