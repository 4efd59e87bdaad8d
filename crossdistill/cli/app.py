"""The typer application and how errors leave it."""

import io
import os
import sys

import typer
from rich.console import Console

from crossdistill.cli.commands import align, demo, doctor, inspect, sft, train
from crossdistill.errors import InputError

app = typer.Typer(
    help="On-policy distillation across tokenizers.", no_args_is_help=True, pretty_exceptions_enable=False
)
for module in (demo, inspect, align, train, sft, doctor):
    app.command(name=module.__name__.rsplit(".", 1)[-1])(module.command)


def main() -> None:
    """Entry point: bad input is one sentence on stderr and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # what is trained here is nobody else's business
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe that has not every character shows escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except InputError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escaped(error)}", soft_wrap=True, highlight=False)
        sys.exit(2)


def escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))
