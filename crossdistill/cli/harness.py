"""``crossdistill eval --harness``: another harness on the same checkpoint."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.errors import InputError
from crossdistill.integrations.harness.base import HarnessRequest
from crossdistill.integrations.harness.registry import get
from crossdistill.integrations.harness.run import run_harness
from crossdistill.report.format import count, score

_REACHING = {
    *("model", "task", "output", "limit", "seed", "device", "dtype", "trust_remote_code", "quiet", "as_json"),
    *("harness", "harness_args", "harness_python"),
}
"""Parameters of the command that a harness is told, or that are about its results."""


def evaluate_by_harness(
    context: typer.Context, name: str, arguments: str, request: HarnessRequest, output: Path, quiet: bool
) -> dict[str, Any]:
    """Run a harness as the command line asks for it.

    Args:
        context: of the command.
        name: of the harness.
        arguments: further ones for it, as a shell would read them.
        request: its model and tasks.
        output: the folder of the evaluation.
        quiet: whether to say nothing while it runs.

    Returns:
        The content of ``eval.json``.

    Raises:
        InputError: an option was given that does not reach a harness; see :func:`run_harness` for others.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in _REACHING:
            raise InputError(
                f"{parameter.opts[0]} does not reach {name}: leave it out, and say in --harness-args what {name} "
                "should do, as on its own command line."
            )
    try:
        further = tuple(shlex.split(arguments))
    except ValueError as error:
        raise InputError(f"--harness-args cannot be split ({error}): quote it as for a shell.") from None
    return run_harness(get(name), replace(request, arguments=further), output, quiet)


def print_harness(console: Console, evaluation: dict[str, Any], name: str) -> None:
    """Print what a harness found."""
    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(("task", "metric", "value", "stderr", "n")):
        table.add_column(column, justify="left" if index < 2 else "right")
    for task, entry in evaluation["harness"][name].items():
        for metric, found in entry["metrics"].items():
            figures = score(found["mean"]), score(found["stderr"]), count(found["n"])
            table.add_row(Text(task), Text(metric), *figures)
    console.print(table)
