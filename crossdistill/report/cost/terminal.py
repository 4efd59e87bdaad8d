"""A cost report in the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.report.cost.comparison import CostReport
from crossdistill.report.cost.tables import TextTable, summaries, tables


def print_cost_report(console: Console, report: CostReport) -> None:
    """Print what runs cost, distillation against SFT, and what is missing or assumed."""
    for table in tables(report):
        console.print(_table(table))
    for sentence in summaries(report):
        console.print(Text(sentence, style="bold"))
    if report.method:
        console.print(Text(f"95 % intervals: {report.method}"))
    for note in report.notes:
        console.print(Text(f"- {note}", style="dim"))


def _table(texts: TextTable) -> Table:
    table = Table(title=Text(texts.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(texts.header):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in texts.rows:
        table.add_row(*map(Text, row))
    return table
