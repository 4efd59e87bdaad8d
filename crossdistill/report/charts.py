"""Charts as inline SVG, drawn by matplotlib without its global state."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# placeholder colours, replaced by the page's own variables in the finished SVG: one drawing serves light and dark mode
INK, LINE, RAW, _GRID = "#010203", "#010204", "#010205", "#010206"
SERIES = tuple(f"#01021{number}" for number in range(1, 7))
"""Colours of curves that are drawn over each other."""
_VARIABLES = {
    **{INK: "var(--ink)", LINE: "var(--line)", RAW: "var(--raw)", _GRID: "var(--grid)"},
    **{colour: f"var(--series{number})" for number, colour in enumerate(SERIES, 1)},
}
_FONT_POINTS = 12
_STYLE = {
    "svg.fonttype": "none",  # keep text as text, in the page's font
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": _FONT_POINTS,
    "text.color": INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LARGEST_LABEL = 16
"""Characters of a name beside the end of its curve; curves with longer names are numbered."""
_LABEL_HEIGHT = 0.115
"""Of a line of text, as a share of the height of the axes."""
_MOST_LABELS = 9
"""Names that find room beside a chart; of more curves, the page's legend alone tells which is which."""
LINE_STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class Chart:
    """A finished chart.

    Attributes:
        title: of the chart.
        svg: an ``<svg>`` element without external resources.
        caption: what to read from it, in a few words.
    """

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class End:
    """The end of a curve, beside which its name is written.

    Attributes:
        label: what is written.
        x: of the end.
        y: of the end.
        colour: of the curve.
    """

    label: str
    x: float
    y: float
    colour: str


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


def count_steps(axes: Any) -> None:
    """Label the horizontal axis with whole numbers alone."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = axes.get_xlim()
    if high - low < 2:  # a single step, which matplotlib would show between fractions of one
        axes.set_xlim(round((low + high) / 2) - 1, round((low + high) / 2) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def show_shares(axes: Any, largest: float) -> None:
    """Show the vertical axis in percent, from 0 to 100 %, or to less if all shares are small.

    Args:
        axes: of matplotlib.
        largest: share that is drawn.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    top = 1.0 if largest > 0.5 else max(1.15 * largest, 0.01)
    axes.set_ylim(-0.02 * top, 1.02 * top)  # a line along the edge is drawn whole
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))


def end_labels(names: Sequence[str]) -> list[str]:
    """What is written beside the curves: their names, numbers from 1 if one is long, nothing if they are too many.

    Example:
        >>> end_labels(["dpca", "bpm"]), end_labels(["dpca", "dpca-with-marginal-credit"])
        (['dpca', 'bpm'], ['1', '2'])
    """
    if len(names) > _MOST_LABELS:
        return [""] * len(names)
    if all(len(name) <= _LARGEST_LABEL for name in names):
        return list(names)
    return [str(number) for number in range(1, len(names) + 1)]


def label_ends(axes: Any, ends: Sequence[End]) -> None:
    """Write labels beside the ends of curves, right of the axes, each joined to its end; limits must be final."""
    ends = [end for end in ends if end.label]
    axes.get_xlim(), axes.get_ylim()  # matplotlib computes limits when they are asked for
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((end.x, end.y))[1]) for end in ends]
    for end, height in zip(ends, spread(heights, _LABEL_HEIGHT), strict=True):
        axes.annotate(
            end.label,
            xy=(end.x, end.y),
            xytext=(1.05, height),
            textcoords="axes fraction",
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={
                **{"arrowstyle": "-", "color": end.colour, "linewidth": 1.0},
                **{"shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
            },
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Heights of labels, as near to those wanted as they may be: in the same order, `least` apart, from 0 to 1.

    Example:
        >>> spread([0.5, 0.52, 0.1], 0.1)
        [0.46, 0.56, 0.1]
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    groups: list[list[int]] = []  # of labels that touch, from the lowest
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _begin(groups[-1], heights, least) < _end(groups[-2], heights, least) + least:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [0.0] * len(heights)
    for group in groups:
        for place, index in enumerate(group):
            placed[index] = round(_begin(group, heights, least) + place * least, 9)
    return placed


def _begin(group: Sequence[int], heights: Sequence[float], least: float) -> float:
    """Of the lowest label of a group, which is centred on the heights that its labels want, within 0 and 1."""
    size = (len(group) - 1) * least
    middle = sum(heights[index] for index in group) / len(group)
    return max(0.0, min(middle - size / 2, 1.0 - size))


def _end(group: Sequence[int], heights: Sequence[float], least: float) -> float:
    return _begin(group, heights, least) + (len(group) - 1) * least


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
