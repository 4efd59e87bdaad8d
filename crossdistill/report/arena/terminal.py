"""The arena's results in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from crossdistill.report.arena.claims import claims_table
from crossdistill.report.arena.statements import Lack, about, explained, lacks, progress
from crossdistill.report.arena.tables import Content, Line, Table, overall_table, pair_table

_FEW = 4
_STYLES = {"rise": "green", "fall": "red", "quiet": "dim", "": ""}


def print_arena(console: Console, content: Content) -> None:
    """Print one table for each pair, what it lacks with the commands that fill it, and one over all pairs.

    Args:
        console: at least 100 columns wide, or names of methods are folded.
        content: of ``arena.json``.
    """
    for pair in content["pairs"]:
        console.print(_grid(pair_table(content, pair)))
        for sentence in (about(pair), *explained(content, pair)):
            console.print(Text(sentence, style="dim"))
        _print_lacks(console, list(lacks(content, pair)))
        console.print()
    console.print(_grid(overall_table(content)))
    if content["claims"]:
        console.print()
        console.print(_grid(claims_table(content)))
    console.print(Text(progress(content), style="dim"))


def _print_lacks(console: Console, found: Sequence[Lack]) -> None:
    """What is not run at all is only named if it is much, as when an arena has just begun."""
    idle = [lack for lack in found if lack.status == "not run" and lack.command]
    named = idle if len(idle) > _FEW else []
    if named:
        names = ", ".join(lack.name for lack in named)
        console.print(Text(f"not run: {names}; results.md has the commands"))
    for lack in (lack for lack in found if lack not in named):
        console.print(Text(f"{lack.name}: {lack.status}: {lack.reason}"))
        if lack.command:
            console.print(Text(f"    {lack.command}", style="bold"), soft_wrap=True)


def _grid(table: Table) -> Grid:
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    grid = Grid(title=table.title, title_justify="left", **look)
    for index, name in enumerate(table.columns):
        grid.add_column(name, justify="right" if index else "left", overflow="fold", min_width=None if index else 8)
    _add(grid, table.methods)
    grid.add_section()
    _add(grid, table.controls)
    return grid


def _add(grid: Grid, lines: Sequence[Line]) -> None:
    for line in lines:
        grid.add_row(*map(Text, line.cells), style=_STYLES[line.tone])
