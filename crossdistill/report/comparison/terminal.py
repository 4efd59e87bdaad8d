"""A comparison in the terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.eval.comparison.comparison import Comparison
from crossdistill.report.comparison.rows import (
    COLUMNS,
    NUM_RECOVERY_COLUMNS,
    REACH_COLUMNS,
    cells,
    reach_tables,
    statements,
)

_NARROW = ("run", "accuracy", "95 %", "points", "95 %", "p", "verdict")
"""COLUMNS without the recovery, short enough for a terminal of 80 columns."""
_COLOURS = {"better": "green", "worse": "red"}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table of a task, what its figures mean, and the costs that were asked for."""
    rows = [cells(row) for row in comparison.rows]
    styles = [_COLOURS.get(row.verdict or "", "") for row in comparison.rows]
    end = -NUM_RECOVERY_COLUMNS
    console.print(_table(comparison.task, _NARROW, [row[:end] for row in rows], styles))
    recovered = [cells(row) for row in comparison.rows if row.recovery is not None]
    if recovered:
        console.print(_table("", (COLUMNS[0], *COLUMNS[end:]), [(row[0], *row[end:]) for row in recovered]))
    for sentence in statements(comparison):
        console.print(Text(sentence, style="dim"))
    for reach in reach_tables(comparison):
        console.print()
        console.print(_table(f"cost to reach {reach.accuracy}", REACH_COLUMNS, reach.rows))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] = ()) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", overflow="fold", min_width=None if index else 8)
    for index, row in enumerate(rows):
        table.add_row(*map(Text, row), style=styles[index] if styles else "")
    return table
