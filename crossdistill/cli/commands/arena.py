"""``crossdistill arena``: methods against each other, from one start, with rates tuned on validation problems."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crossdistill.cli.keys import print_keys
from crossdistill.cli.options import Keys, Overrides
from crossdistill.cli.running import reporting_interruption
from crossdistill.extras import missing, require

if TYPE_CHECKING:
    from crossdistill.arena.file import ArenaFile

_BY_SIGNAL = 128
"""Exit codes of a command that a signal stopped are above it, as in shells."""
UNFINISHED = 3
"""Exit code of an arena that went to its end and has cells that failed or were stopped; its results are written."""


def command(
    file: Annotated[Path | None, typer.Argument(metavar="FILE.toml", help="What is compared.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; if it holds this arena's cells, it goes on.")
    ] = Path("crossdistill-arena"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at once; by default one a GPU, or one a core.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Run these cells alone, such as 'sums/dpca/*'; may be repeated."),
    ] = None,
    again: Annotated[
        list[str],
        typer.Option(metavar="PATTERN", help="Forget these finished cells and run them again; may be repeated."),
    ] = [],  # noqa: B006 typer only reads the default
    retry: Annotated[bool, typer.Option("--retry", help="Run cells that failed again.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Run nothing: write the results of what there is.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing: count the cells and check the file.")] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the trained weights of all cells.")] = False,
    overrides: Overrides = [],  # noqa: B006 typer only reads the default
    keys: Keys = False,
) -> None:
    """Compare methods: each on each pair with each seed, from one start, at a rate tuned on validation problems.

    Writes cells.jsonl, arena.json, report.html and results.md into the output folder. An arena that was stopped goes on
    with the cells that are missing. The exit code is 3 if cells failed, or were stopped by a signal of their own.
    """
    require("train")
    require("eval", "filelock", "scipy")
    from crossdistill.arena.file import ArenaFile, read_arena
    from crossdistill.errors import InputError

    if keys:
        return print_keys(ArenaFile.tables, file)
    if file is None:
        raise InputError("name the arena's file, FILE.toml; --keys lists what it can hold.")
    _check_options(plan, report, {"--only": only, "--again": again, "--retry": retry})
    from crossdistill.runs.quiet import quiet_libraries

    quiet_libraries()
    arena = read_arena(file, overrides)
    console = Console()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    from crossdistill.arena.checks import check_arena
    from crossdistill.arena.folder import ArenaFolder
    from crossdistill.arena.preview import preview
    from crossdistill.arena.run import Running, run_arena, unfinished
    from crossdistill.runs.interrupt import interrupted_by_signals

    if plan:
        check_arena(arena)
        for line in preview(arena):
            say(line)
        return None
    write = partial(_write, console, arena, file, output, overrides)
    if report:
        if not ArenaFolder(output).record.exists():
            raise InputError(
                f"{output} has no cells of an arena: name its folder with --output, or leave out --report."
            )
        return write()
    devices = _gpus()
    running = Running(jobs or len(devices) or os.cpu_count() or 1, devices, only, again, retry, keep_models)
    _import_for_results()  # a signal within an import would leave half a module, and results are written after it
    same = "the same command without --again" if again else "the same command"
    try:
        with (
            reporting_interruption(output, f"{same} goes on with the cells that are missing"),
            interrupted_by_signals(),
        ):
            outcomes = run_arena(arena, output, running, say)
    except typer.Exit as stop:
        if stop.exit_code > _BY_SIGNAL and ArenaFolder(output).record.exists():
            write()
        raise
    write()
    if unfinished(arena, outcomes, running):
        raise typer.Exit(UNFINISHED)
    return None


def _check_options(plan: bool, report: bool, of_runs: Mapping[str, Any]) -> None:
    """Check that no option of runs comes with one that runs nothing."""
    from crossdistill.errors import InputError

    if plan and report:
        raise InputError("--plan checks a file before it is run, and --report writes results: give one of the two.")
    given = [option for option, value in of_runs.items() if value]
    if given and (plan or report):
        raise InputError(f"--{'plan' if plan else 'report'} runs nothing, so {given[0]} has no meaning: leave it out.")


def _import_for_results() -> None:
    """Import what writing the results needs."""
    for name in ("arena.results", "arena.run", "report.arena.markdown", "report.arena.page", "report.arena.terminal"):
        import_module(f"crossdistill.{name}")
    import_module("scipy.stats")


def _write(console: Console, arena: "ArenaFile", file: Path, output: Path, overrides: Sequence[str]) -> None:
    """Write the results of the cells that are finished, and print their table."""
    from crossdistill.arena.folder import ArenaFolder
    from crossdistill.arena.results import arena_results
    from crossdistill.arena.run import recorded
    from crossdistill.files import write_text
    from crossdistill.report.arena.markdown import arena_markdown
    from crossdistill.report.arena.page import write_arena_page
    from crossdistill.report.arena.terminal import print_arena
    from crossdistill.runs.run_file import write_json

    folder = ArenaFolder(output)
    results = arena_results(arena, recorded(arena, output), file, output, overrides)
    write_json(folder.results, results)
    write_text(folder.markdown, arena_markdown(results))
    print_arena(console, results)
    absent = missing("report")
    if absent:
        way_out = "pip install 'crossdistill[report]'"
        console.print(f"no page was written, because {absent[0]} is not installed: {way_out}", markup=False)
    else:
        write_arena_page(folder.report, results)
    console.print(f"results are in {output}", markup=False, soft_wrap=True)


def _gpus() -> list[str]:
    """Numbers of the GPUs, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in named.split(",") if name.strip()]
    count = torch.cuda.device_count()  # those that can be used, of those that are named
    return names[:count] if names else [str(number) for number in range(count)]
