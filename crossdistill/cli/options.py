"""Options that several commands share, and the list of a run file's keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE.toml]", help="Run file; options can set and override every key.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new or empty.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder.")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Set a key of the run file, such as train.learning_rate=1e-6."
    ),
]
Keys = Annotated[bool, typer.Option("--keys", help="List every key of the run file with its meaning, and exit.")]


def print_keys(model: type, tables: dict[str, Callable[[], dict[str, str]]]) -> None:
    """Print the keys of a run file and their meaning.

    Args:
        model: the configuration's class.
        tables: table of the file -> function that returns its keys and their meaning.
    """
    console = Console()
    rows = {name: field.description or "" for name, field in model.model_fields.items()}  # type: ignore[attr-defined]
    for title, entries in {"": rows, **{name: read() for name, read in tables.items()}}.items():
        table = Table("key", "meaning", title=rf"\[{title}]" if title else "top level", title_justify="left")
        for name, meaning in entries.items():
            table.add_row(name, meaning.replace("[", r"\["))
        console.print(table)
