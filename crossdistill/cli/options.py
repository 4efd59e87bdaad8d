"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
Keys = Annotated[
    bool,
    typer.Option("--keys", help="List every key of the file, and exit; `--keys WORD`: those that are about a word."),
]
