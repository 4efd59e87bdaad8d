"""``python -m recipes.paper``: what there is to run, running it, its costs, and the tables."""

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from crossdistill.errors import InputError
from recipes.paper.cells import COMMAND, Cell, cells, chosen
from recipes.paper.data import Draw, prepare
from recipes.paper.serving import serving
from recipes.paper.settings import Settings, read_settings

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
SettingsFiles = Annotated[list[Path], typer.Option("--settings", help="Overrides keys of settings.toml; repeatable.")]


@app.command("list")
def list_cells(
    settings: SettingsFiles = [],  # noqa: B006 typer only reads the default
    is_all: Annotated[bool, typer.Option("--all", help="Also cells that the paper does not have.")] = False,
    commands: Annotated[bool, typer.Option(help="With the commands of each.")] = False,
) -> None:
    """Tell which cells there are, and how far each is."""
    for cell in cells(read_settings(settings), is_all):
        try:
            stages = list(cell.stages())
        except InputError as error:
            typer.echo(error)
            continue
        done = sum(stage.is_done for stage in stages)
        state = "done" if done == len(stages) else f"{done} of {len(stages)} commands" if done else "not run"
        typer.echo(f"{cell.name:<20} {state}")
        for stage in stages if commands else ():
            typer.echo(f"    {shlex.join(stage.command)}")


@app.command("run")
def run_cells(
    names: Annotated[list[str], typer.Argument(metavar="CELL", help="all, PAIR, PAIR/METHOD or PAIR/METHOD-SEED.")],
    settings: SettingsFiles = [],  # noqa: B006
) -> None:
    """Run cells, each after what it needs; what is done is left, and what was stopped goes on."""
    found = read_settings(settings)
    for cell in chosen(found, names):
        run(cell)


@app.command("data")
def draw_data(
    pairs: Annotated[list[str], typer.Argument(metavar="PAIR", help="Pairs; all by default.")] = [],  # noqa: B006
    settings: SettingsFiles = [],  # noqa: B006
) -> None:
    """Draw the data alone, which `run` does first."""
    found = read_settings(settings)
    for pair in pairs or found.pairs:
        draw(found, pair)


@app.command("cost")
def forecast_cost(settings: SettingsFiles = []) -> None:  # noqa: B006
    """Tell what the cells cost, in FLOPs and GPU hours: computed from the models' configurations."""
    from recipes.paper.cost import lines

    for line in lines(read_settings(settings)):
        typer.echo(line)


@app.command("tables")
def write_tables(
    settings: SettingsFiles = [],  # noqa: B006
    output: Annotated[Path | None, typer.Option(help="Folder; by default the recipe's output.")] = None,
) -> None:
    """Write tables 1 to 3 (tables.md, tables.json) and figure 2 (figure2.svg), beside the paper's."""
    from recipes.paper.report import write_report

    found = read_settings(settings)
    for path in write_report(found, output or found.output):
        typer.echo(path)


def run(cell: Cell) -> None:
    """Run the commands of a cell that are not done.

    Raises:
        InputError: its data cannot be drawn, or a server does not start.
        SystemExit: a command failed.
    """
    draw(cell.settings, cell.pair)
    for stage in cell.stages():
        if not stage.is_done:
            typer.echo(f"{cell.name}: {shlex.join(stage.command)}")
            evaluation = cell.settings.eval
            with serving(evaluation.serve, stage.serves, evaluation.url) if stage.serves else nullcontext():
                code = execute(stage.command)
            if code:
                typer.echo(f"stopped; `{COMMAND} {cell.name}` goes on from here", err=True)
                raise SystemExit(code)


def execute(command: Sequence[str]) -> int:
    """Run a command and return its exit code, as shells have it."""
    try:
        process = subprocess.Popen(command)  # noqa: S603 - of settings.toml
    except OSError as error:
        raise InputError(
            f"{command[0]!r} cannot be started ({error.strerror}): see [hardware] of the settings."
        ) from None
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # it hears Ctrl-C too, and ends with a checkpoint
            continue
        return code if code >= 0 else 128 - code


def draw(settings: Settings, pair: str) -> None:
    """Draw the data of a pair, unless that is done."""
    if pair not in settings.pairs:
        raise InputError(f"there is no pair {pair!r}: name one of {', '.join(settings.pairs)}.")
    named, sizes = settings.pairs[pair], settings.sizes
    found = prepare(
        Draw(
            student=named.base or named.start or "",
            open_thoughts=settings.data.open_thoughts,
            deep_math=settings.data.deep_math,
            num_sft=sizes.sft_examples if named.base else 0,
            num_prompts=sizes.prompts,
            longest_prompt=sizes.longest_prompt,
            longest_example=sizes.longest_example,
            seed=settings.data.seed,
            tasks=tuple(settings.eval.tasks),
            sources=settings.eval.sources,
        ),
        settings.output / pair / "data",
    )
    rows = ", ".join(f"{count:,} of {name}" for name, count in found["rows"].items())
    left = "; ".join(f"{name} {count}" for name, count in found["left_out"].items())
    typer.echo(f"{pair}: rows {rows}; left out {left}")


def main() -> None:
    """Bad input ends in one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
