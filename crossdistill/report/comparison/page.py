"""Comparisons as one HTML file that loads nothing and runs no script."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossdistill.eval.comparison.comparison import Comparison
from crossdistill.files import write_text
from crossdistill.report.comparison.charts import comparison_charts, legend
from crossdistill.report.comparison.rows import (
    COLUMNS,
    REACH_COLUMNS,
    cells,
    points,
    points_interval,
    reach_tables,
    statements,
    verdict_class,
)
from crossdistill.report.html import environment


def write_comparison_page(path: str | Path, comparisons: Sequence[Comparison]) -> None:
    """Write the page of comparisons as one self-contained file, atomically.

    Args:
        path: of the file.
        comparisons: one for each task.

    Raises:
        InputError: the extra ``report`` is not installed.
    """
    page = environment().get_template("comparison.html.j2")
    write_text(path, page.render(tasks=[_context(comparison) for comparison in comparisons]))


def _context(comparison: Comparison) -> dict[str, Any]:
    return {
        "comparison": comparison,
        "columns": COLUMNS,
        "rows": [(cells(row), verdict_class(row)) for row in comparison.rows],
        "spans": _spans(comparison),
        "statements": statements(comparison),
        "charts": comparison_charts(comparison),
        "legend": legend(comparison),
        "reach_columns": REACH_COLUMNS,
        "reach": reach_tables(comparison),
    }


def _spans(comparison: Comparison) -> dict[str, Any]:
    """What the plot of the differences shows: its rows, and the range that holds all of them and 0."""
    gains = [(row.name, row.difference) for row in comparison.rows if row.difference is not None]
    rows = [
        {
            "name": name,
            "low": gain.low,
            "mean": gain.mean,
            "high": gain.high,
            "shown": points(gain.mean),
            "interval": points_interval(gain),
        }
        for name, gain in gains
    ]
    ends = [0.0, *(end for _, gain in gains for end in (gain.low, gain.high))]
    return {"rows": rows, "range": (min(ends), max(ends))}
