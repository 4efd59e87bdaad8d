"""Compares what this package costs with the committed figures: ``make bench-check``, some minutes on two cores.

python -m benchmarks.check
python -m benchmarks.check --only align --update      # commits to new figures, of some cases

All figures are ratios to something that is measured beside it, in processor time by turns or in counted bytes: the bare
products, TRL's code, the plain form of the same computation. So they hardly depend on what else the machine does, but
they do on its kind: on another machine than that of the figures, write figures of the main branch there first (--update
--figures FILE) and compare with these. A ratio that looks worse is measured again, twice at most, and the best counts.
The exit code is 0 if no ratio exceeds its figure by more than its tolerance, and 1 otherwise.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.check import losses, tokens, whole
from benchmarks.check.case import Case
from benchmarks.inputs import check_file, check_same, refusals
from crossdistill.errors import InputError
from crossdistill.report.versions import versions
from crossdistill.runs.run_file import read_record, write_json

FIGURES = Path(__file__).parents[1] / "results" / "bench_check.json"
ATTEMPTS = 3
BETTER = 0.8
"""Of the committed figure: a ratio below is worth new figures."""


def all_cases() -> list[Case]:
    """In the order in which they are measured."""
    return [*tokens.cases(), *losses.cases(), *whole.cases()]


def measured(case: Case, committed: float | None) -> float:
    """The ratio; again if it is too high, and then the best of all attempts."""
    found = case.measure()
    for _ in range(ATTEMPTS - 1):
        if committed is None or found <= committed * case.tolerance:
            break
        found = min(found, case.measure())
    return found


def verdict(found: float, committed: float | None, tolerance: float) -> str:
    """What a ratio says.

    Example:
        >>> [verdict(found, 2.0, 1.4) for found in (1.5, 2.0, 2.8, 2.9)]
        ['better: --update', '', '', 'worse']
        >>> verdict(1.0, None, 1.4)
        'new: --update'
    """
    if committed is None:
        return "new: --update"
    if found > committed * tolerance:
        return "worse"
    return "better: --update" if found < BETTER * committed else ""


def read(file: Path) -> dict[str, Any]:
    """The committed figures.

    Raises:
        InputError: there are none.
    """
    if not file.exists():
        raise InputError(f"there are no figures in {file}: write them with --update.")
    found = read_record(file)
    ratios = found.get("ratios")
    if not isinstance(ratios, dict) or not all(isinstance(one, int | float) for one in ratios.values()):
        raise InputError(f"{file} has no figures of this command ('ratios'): name another file, or delete this one.")
    return found


def show(cases: Sequence[Case], found: Mapping[str, float], committed: Mapping[str, float]) -> Table:
    table = Table("ratio", "now", "committed", "tolerance", "")
    for case in cases:
        now, before = found[case.name], committed.get(case.name)
        said = verdict(now, before, case.tolerance)
        table.add_row(case.name, f"{now:.3g}", "" if before is None else f"{before:.3g}", f"x {case.tolerance}", said)
    return table


def machine() -> dict[str, Any]:
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "versions": versions()}


def main(
    update: Annotated[bool, typer.Option(help="Write the ratios as the new figures.")] = False,
    only: Annotated[str, typer.Option(help="Cases whose name has this text.")] = "",
    figures: Annotated[Path, typer.Option(help="The file of the figures.")] = FIGURES,
) -> None:
    """Compare the costs of this package with the committed figures."""
    console = Console()
    torch.set_num_threads(1)
    cases = [case for case in all_cases() if only in case.name]
    names = [case.name for case in all_cases()]
    with refusals():
        check_file("--figures", figures)
        known = read(figures) if figures.exists() or not update else {"ratios": {}}
        if not cases:
            raise InputError(f"no case has {only!r} in its name: leave --only out, and the table has all names.")
        old = {name: one for name, one in known["ratios"].items() if name in names}
        if update and old.keys() - {case.name for case in cases}:
            check_same(figures, {name: one for name, one in known.items() if name != "ratios"}, machine())
    found = {}
    for case in cases:
        found[case.name] = measured(case, None if update else old.get(case.name))
        console.print(f"{case.name}: {found[case.name]:.3g}", markup=False, highlight=False, soft_wrap=True)
    console.print(show(cases, found, old))
    if update:
        write_json(figures, machine() | {"ratios": old | found})
        return
    worse = [case.name for case in cases if verdict(found[case.name], old.get(case.name), case.tolerance) == "worse"]
    if worse:
        console.print(f"worse than committed: {'; '.join(worse)}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
