"""Learning curves as inline SVG, drawn by matplotlib without its global state."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

# drawn in these colours, which are then replaced by the page's own variables: one SVG for light and dark
_INK, _LINE, _RAW, _GRID = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {_INK: "var(--ink)", _LINE: "var(--line)", _RAW: "var(--raw)", _GRID: "var(--grid)"}
_STYLE = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NUM_POINTS_TO_SMOOTH = 60


@dataclass(frozen=True)
class Curve:
    """One quantity of the history: the key of its rows, a title, and the unit of its axis."""

    key: str
    title: str
    unit: str


CURVES = (
    Curve("teacher_gap", "Gap to the teacher", "nats per byte"),
    Curve("loss", "Loss", "loss"),
    Curve("completions/mean_length", "Response length", "tokens"),
    Curve("stopped", "Responses that stopped by themselves", "share"),
    Curve("accuracy", "Accuracy", "share"),
    Curve("entropy", "Entropy of the student", "nats per token"),
)


@dataclass(frozen=True)
class Chart:
    """A curve that has points, as SVG markup with no outer resources, and its ends in words."""

    title: str
    svg: str
    caption: str


def learning_curves(history: Iterable[dict[str, Any]]) -> list[Chart]:
    """A chart for each curve of which `history` has a finite value; rows without a step or a value are skipped."""
    rows = list(history)
    charts = []
    for curve in CURVES:
        points = [
            (row["step"], row[curve.key]) for row in rows if _is_number(row, "step") and _is_number(row, curve.key)
        ]
        if points:
            steps, values = (list(column) for column in zip(*points, strict=True))
            caption = f"{values[0]:.4g} at step {steps[0]:g}, {values[-1]:.4g} at step {steps[-1]:g}"
            charts.append(Chart(curve.title, _draw(curve, steps, values), caption))
    return charts


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """Mean of the values up to `reach` places to both sides, fewer near the ends; centred, so that it does not lag."""
    return [fmean(values[max(0, index - reach) : index + reach + 1]) for index in range(len(values))]


def _is_number(row: dict[str, Any], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, int | float) and math.isfinite(value)


def _draw(curve: Curve, steps: list[float], values: list[float]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    # the salt names the ids of clip paths and markers, which must differ between the charts of a page
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": curve.key}):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        if len(values) >= _NUM_POINTS_TO_SMOOTH:
            axes.plot(steps, values, color=_RAW, linewidth=0.8)
            values = smoothed(values, len(values) // 40)
        axes.plot(steps, values, color=_LINE, linewidth=1.8, marker="o" if len(values) < 3 else None, markersize=4)
        axes.set_xlabel("step")
        axes.set_ylabel(curve.unit)
        buffer = io.StringIO()
        metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return _for_page(buffer.getvalue(), curve.title)


def _for_page(svg: str, title: str) -> str:
    """The <svg> element alone: scalable, in the page's colours and font, without the ids of its groups."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--sans)", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', svg, count=1
    )
    svg = svg.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.strip()
