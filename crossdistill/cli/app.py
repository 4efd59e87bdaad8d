"""The typer application and its entry point."""

import io
import os
import sys
from inspect import cleandoc
from typing import Annotated

import typer
from rich.markup import escape

from crossdistill import __version__
from crossdistill.cli.commands import (
    align,
    arena,
    compare,
    demo,
    doctor,
    eval,
    export,
    init,
    inspect,
    report,
    sft,
    train,
    verl_config,
    verl_run,
)
from crossdistill.cli.processes import leave_processes
from crossdistill.cli.saying import say
from crossdistill.cli.without_torch import leave_out_torch
from crossdistill.errors import InputError

app = typer.Typer(
    help="On-policy distillation across tokenizers.", no_args_is_help=True, pretty_exceptions_enable=False
)


def _flowing(text: str | None) -> str:
    """A docstring with a line a paragraph: typer keeps the ends of lines in all but the first."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text or "").split("\n\n"))


for module in (demo, inspect, init, align, train, sft, export, eval, compare, arena, report, doctor, verl_config):
    name = module.__name__.rsplit(".", 1)[-1].replace("_", "-")
    app.command(name=name, help=_flowing(module.command.__doc__))(module.command)
verl_arguments = {"allow_extra_args": True, "ignore_unknown_options": True}
verl_help = _flowing(verl_run.command.__doc__)
app.command(name="verl-run", help=verl_help, context_settings=verl_arguments)(verl_run.command)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"crossdistill {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself, before a command."""


def main() -> None:
    """Run the command line. Bad input ends in one sentence on stderr and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # what is trained here is nobody else's business
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escapes for characters that the terminal or pipe cannot encode
            stream.reconfigure(errors="backslashreplace")
    leave_out_torch(sys.argv[1:])
    code = _run()  # an error would hold what its frames do, the trainer too
    leave_processes()
    sys.exit(code)


def _run() -> str | int | None:
    """Run the command that was asked for, and return the exit code."""
    try:
        app()
    except InputError as error:
        say(error, f"[red]error:[/red] {escape(str(error))}", markup=True)
        return 2
    except SystemExit as end:
        return end.code
    return 0
