"""``crossdistill report``: what runs cost, and what SFT would."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.output import check_page, print_json, writing
from crossdistill.cli.waiting import waiting
from crossdistill.extras import require


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of training runs and of evaluations.")],
    task: Annotated[str | None, typer.Option(help="Task on which accuracies are compared.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page with its figure.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the tables as Markdown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, for programs.")] = False,
    is_quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Tell what runs cost: data points, tokens and FLOPs by part, and how much SFT would take to reach as far.

    RUN are output folders of `crossdistill train` and `crossdistill sft`, and of `crossdistill eval` on their models.
    With SFT of at least two sizes, its accuracy is continued over the logarithm of the data to that of each
    distillation: the data and the FLOPs that it would take, with 95 % intervals.
    """
    check_page(html)
    require("train")
    require("eval", "scipy", user="an extrapolation")
    with waiting("reading the runs", is_quiet):
        from crossdistill.report.cost.comparison import compare
        from crossdistill.report.cost.page import as_dict, write_cost_markdown, write_cost_page
        from crossdistill.report.cost.terminal import print_cost_report
        from crossdistill.runs.spending import read_spendings

        spendings, notes = read_spendings(runs)
        report = compare(spendings, task, notes)
    for path, write in ((html, write_cost_page), (markdown, write_cost_markdown)):
        if path is not None:
            with writing(path):
                write(path, report)
    if as_json:
        print_json([as_dict(report)])
    elif not is_quiet:
        print_cost_report(Console(), report)
