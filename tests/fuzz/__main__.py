"""Fuzz the alignment, the encodings and the mapping of ends: python -m tests.fuzz --cases 1000000 --seed 0.

Every case is determined by the seed and its number. The first failure stops the run, is minimised by random search and
printed as a line of Python.
"""

import time
from collections import Counter
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.cases import KINDS, Kind

SIZES = (4, 12, 24, 64, 10_000)
SIZE_WEIGHTS = (0.3, 0.4, 0.25, 0.045, 0.005)
SHRINKING_CASES = 20_000  # at most
PROGRESS_EVERY = 500


def draw(seed: int, index: int) -> tuple[Kind, tuple[Any, ...]]:
    """Case number `index` of a seed."""
    rng = Random(f"{seed}:{index}")
    kind = rng.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
    size = min(rng.choices(SIZES, weights=SIZE_WEIGHTS)[0], kind.most)
    return kind, kind.draw(rng, size)


def failure(kind: Kind, arguments: tuple[Any, ...]) -> str | None:
    """A description of the failure, None if the case passes. Any error of the code under test is a failure."""
    try:
        kind.check(*arguments)
    except Exception as error:  # noqa: BLE001 - reported
        return f"{type(error).__name__}: {error}"
    return None


def smaller(kind: Kind, arguments: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """The first failing case of the kind at the smallest size that has one, or the case itself."""
    for attempt in range(SHRINKING_CASES):
        candidate = kind.draw(Random(f"{seed}:smaller:{attempt}"), 1 + attempt // 1_000)
        if len(repr(candidate)) >= len(repr(arguments)):
            continue
        if failure(kind, candidate) is not None:
            return candidate
    return arguments


app = typer.Typer(add_completion=False)


@app.command()
def main(
    cases: Annotated[int, typer.Option(min=1, help="Number of cases.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Seed of all cases.")] = 0,
    first: Annotated[
        int, typer.Option(min=0, help="Number of the first case, to continue a run or repeat a case.")
    ] = 0,
) -> None:
    """Draw and check cases; stop at the first failure."""
    console = Console()
    counts: Counter[str] = Counter()
    start = time.perf_counter()
    with Progress(*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("fuzz", total=cases)
        for index in range(first, first + cases):
            kind, arguments = draw(seed, index)
            counts[kind.name] += 1
            wrong = failure(kind, arguments)
            if wrong is not None:
                break
            if (index - first + 1) % PROGRESS_EVERY == 0:
                progress.update(task, completed=index - first + 1)
        progress.update(task, completed=index - first + 1)
    seconds = time.perf_counter() - start
    if wrong is not None:
        console.print(f"case {index} ({kind.name}) fails: {wrong}", style="bold red", markup=False)
        small = smaller(kind, arguments, seed)
        console.print(f"again: python -m tests.fuzz --seed {seed} --first {index} --cases 1", markup=False)
        console.print(f"smallest found: {failure(kind, small)}", markup=False)
        print(f"from tests.fuzz.cases import {kind.check.__name__}; {kind.check.__name__}{small!r}")
        raise typer.Exit(1)
    table = Table("cases of", "number", title=f"seed {seed}: {cases:,} cases in {seconds:.0f} s, none failed")
    for name, number in sorted(counts.items()):
        table.add_row(name, f"{number:,}")
    console.print(table)


if __name__ == "__main__":
    app()
