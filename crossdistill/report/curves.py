"""The curves of a run: its evaluations with their intervals, and its training log."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from crossdistill.extras import require
from crossdistill.report.charts import LINE, RAW, SERIES, Chart, End, count_steps, drawn, label_ends, show_shares
from crossdistill.report.format import brief, percent

LOWER, HIGHER = "lower is better", "higher is better"
SHARE = "share"
"""Unit of what is drawn in percent."""
_NUM_POINTS_TO_SMOOTH = 60
_Z95 = 1.96  # quantile of the normal distribution, for the interval of a mean over many responses


@dataclass(frozen=True)
class Curve:
    """A chart to draw from the history.

    Attributes:
        lines: key in the rows of the history -> name beside the line, empty if it is alone.
        title: of the chart.
        unit: label of the vertical axis; SHARE is drawn in percent.
        note: which direction is better, or how else the curve is to be read; may be empty.
    """

    lines: dict[str, str]
    title: str
    unit: str
    note: str = ""


EVALUATION = (
    Curve({"eval_teacher_gap": ""}, "Gap to the teacher on held-out prompts", "nats per byte", LOWER),
    Curve({"eval_loss": ""}, "Loss on held-out data", "loss", LOWER),
    Curve({"eval_mean_token_accuracy": ""}, "Token accuracy on held-out data", SHARE, HIGHER),
)
"""Curves of evaluations during a run, with intervals if the history has standard errors."""
TRAINING = (
    Curve({"teacher_gap": ""}, "Gap to the teacher", "nats per byte", LOWER),
    Curve(
        {"teacher_gap/digits": "digits", "teacher_gap/white_space": "white space", "teacher_gap/rest": "the rest"},
        "Gap to the teacher by kind of byte",
        "nats per byte",
        LOWER,
    ),
    Curve({"loss": ""}, "Loss", "loss", LOWER),
    Curve({"mean_token_accuracy": ""}, "Token accuracy", SHARE, HIGHER),
    Curve({"coverage": ""}, "Supervised share of the sampled bytes", SHARE, HIGHER),
    Curve({"completions/mean_length": ""}, "Response length", "tokens"),
    Curve({"stopped": ""}, "Responses that ended by themselves", SHARE, HIGHER),
    Curve({"share/digits": "digits", "share/white_space": "white space"}, "Kinds of sampled bytes", SHARE),
    Curve({"accuracy": ""}, "Accuracy", SHARE, HIGHER),
    Curve(
        {"entropy": "in training", "sampled_entropy": "of the samples"},
        "Entropy of the student",
        "nats per token",
        "a fall towards 0 is a collapse",
    ),
)
"""Curves of the log of training."""


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
        if known:
            bands = [point.get("ci") or (point["mean"], point["mean"]) for point in known]
            line = _Line("", [point["step"] for point in known], [point["mean"] for point in known], bands)
            charts.append(_chart(Curve({}, f"Accuracy on {name}", SHARE, HIGHER), [line]))
    return charts


def curve_charts(curves: Iterable[Curve], history: Iterable[Mapping[str, Any]]) -> list[Chart]:
    """One chart for each curve that has a finite value in `history`; rows without a step or a value are skipped.

    Args:
        curves: EVALUATION or TRAINING.
        history: rows of a trainer's log. A value with a standard error, in a key that ends in ``_se``, is drawn with
            its 95 % interval. Of several rows of a step the last counts.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("report", "matplotlib", user="a chart")
    rows = list(history)
    found = ((curve, list(_lines(curve, rows))) for curve in curves)
    return [_chart(curve, lines) for curve, lines in found if lines]


@dataclass(frozen=True)
class _Line:
    name: str
    steps: list[float]
    values: list[float]
    band: Sequence[Sequence[float]] | None = None  # ends of the interval of each value

    def caption(self, unit: str) -> str:
        """The first and last value; the value, if there is one."""
        show = percent if unit == SHARE else brief
        shown = [show(value) for value in (self.values[0], self.values[-1])]
        return " → ".join(shown[: len(self.values)])


def _lines(curve: Curve, rows: Sequence[Mapping[str, Any]]) -> Iterator[_Line]:
    for key, name in curve.lines.items():
        by_step = {row["step"]: row for row in rows if _is_number(row, "step") and _is_number(row, key)}
        values = [row[key] for row in by_step.values()]
        errors = [row[f"{key}_se"] for row in by_step.values() if _is_number(row, f"{key}_se")]
        band = None
        if key.startswith("eval_") and len(errors) == len(values):  # in the log of training it would hide the line
            band = [(value - _Z95 * se, value + _Z95 * se) for value, se in zip(values, errors, strict=True)]
        if values:
            yield _Line(name, list(by_step), values, band)


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


def _chart(curve: Curve, lines: Sequence[_Line]) -> Chart:
    caption = lines[0].caption(curve.unit) if len(lines) == 1 else ""
    unit = "" if curve.unit == SHARE else curve.unit
    svg = drawn(curve.title, "step", unit, lambda axes: _draw(axes, curve, lines))
    return Chart(curve.title, svg, "; ".join(filter(None, (caption, curve.note))))


def _draw(axes: Any, curve: Curve, lines: Sequence[_Line]) -> None:
    is_alone = len(lines) == 1
    colours = [LINE] if is_alone else SERIES
    drawn_lines = list(zip(lines, colours, strict=False))
    ends = [_draw_line(axes, line, colour, shows_raw=is_alone) for line, colour in drawn_lines]
    count_steps(axes)
    if curve.unit == SHARE:
        show_shares(axes, max(end for line in lines for end in (*line.values, *(high for _, high in line.band or ()))))
    if not is_alone:
        label_ends(axes, ends)


def _draw_line(axes: Any, line: _Line, colour: str, shows_raw: bool) -> End:
    """Draw one line, smoothed if it has many points; `shows_raw` draws those behind it."""
    values = line.values
    if line.band is None and len(values) >= _NUM_POINTS_TO_SMOOTH:
        if shows_raw:
            axes.plot(line.steps, values, color=RAW, linewidth=0.8)
        values = smoothed(values, len(values) // 40)
    if line.band is not None:
        axes.fill_between(line.steps, *zip(*line.band, strict=True), color=colour, alpha=0.2, linewidth=0)
    marker = "o" if len(values) < 3 or line.band is not None else None
    axes.plot(line.steps, values, color=colour, linewidth=1.8, marker=marker, markersize=4)
    return End(line.name, line.steps[-1], values[-1], colour)
