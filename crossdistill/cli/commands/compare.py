"""``crossdistill compare``: models against each other on the same problems."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.output import check_page, print_json, writing
from crossdistill.cli.waiting import waiting
from crossdistill.extras import require


def command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluations or training runs, or of both.")
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="What the others are held against; by default the student before training if a training run "
            "evaluated it, else the first run.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The teacher's evaluation, for the share of the gap recovered.")
    ] = None,
    reach: Annotated[
        list[float],
        typer.Option(metavar="SHARE", help="An accuracy, such as 0.5, whose cost is shown; may be repeated."),
    ] = [],  # noqa: B006 typer only reads the default
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare on this task alone; by default on all in common.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the comparison as a page.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON, for programs: one line per task.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no table.")] = False,
) -> None:
    """Compare models on the same problems: paired differences, gap recovery, cost to reach an accuracy.

    Runs on other problems, or sampled under other settings, are refused with what differs.
    """
    require("eval", "scipy")
    check_page(html)
    with waiting("comparing the runs", quiet):
        from crossdistill.report.comparison.page import write_comparison_page
        from crossdistill.report.comparison.terminal import print_comparison
        from crossdistill.runs.compare import compare_folders

        comparisons = compare_folders(runs, baseline, teacher, reach, task)
    if html is not None:
        with writing(html):
            write_comparison_page(html, comparisons)
    if as_json:
        print_json(comparison.as_dict() for comparison in comparisons)
    elif not quiet:
        console = Console()
        for comparison in comparisons:
            print_comparison(console, comparison)
