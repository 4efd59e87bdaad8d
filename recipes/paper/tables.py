"""Tables 1 to 3 of the paper, each row of its figures above one of what was run here."""

from collections.abc import Iterator, Sequence

from crossdistill.eval.interval import Estimate
from crossdistill.report.comparison.rows import points, points_interval, share
from crossdistill.report.cost.comparison import CostReport
from crossdistill.report.cost.tables import TextTable
from crossdistill.report.cost.tables import tables as cost_tables
from crossdistill.report.format import MISSING, count
from recipes.paper.cells import COMMAND, METHODS, SFT
from recipes.paper.compute import PAIR, Compute
from recipes.paper.published import published
from recipes.paper.scores import Scores
from recipes.paper.settings import Settings

SAME, CROSS = "qwen", "llama"
OPD = "opd"
PAPER, HERE = "paper", "here"


def table_1(settings: Settings, scores: Scores) -> list[TextTable]:
    """Main results: one table a pair; methods that the paper does not have appear if they were run."""
    return [
        TextTable(
            f"Table 1, {settings.pairs[pair].title}: accuracy in percent",
            ("method", "", *published().titles, "Avg."),
            tuple(_methods(pair, scores)),
        )
        for pair in settings.pairs
        if pair != SAME
    ]


def _methods(pair: str, scores: Scores) -> Iterator[tuple[str, ...]]:
    known = published().scores.get(pair, {})
    for name, method in METHODS.items():
        if name in known:
            yield method.label, PAPER, *(f"{value:.1f}" for value in known[name])
        if name in known or (pair, name) in scores.evaluations:
            cells = (_score(scores.score(pair, name, tasks)) for tasks in _columns())
            yield method.label, HERE, *_or_command(list(cells), f"{pair}/{name}")


def table_2(compute: Compute) -> TextTable:
    """Compute: SFT that would reach as far as distillation, and distillation."""
    paper = published()
    samples, reached = max(paper.opd.items())
    [start] = paper.sft.values()
    rows = [
        ("Initialization: SFT-400K", PAPER, f"{start:.1f} %", MISSING, MISSING, MISSING, MISSING),
        (
            *("SFT extrapolated", PAPER, f"{reached:.1f} %", f"+{count(paper.sft_extrapolated)}"),
            *("not in the text", "not in the text", "1.0"),
        ),
        (
            *("SFT + OPD", PAPER, f"{reached:.1f} %", f"+{count(samples)} ({paper.data_share:g} %)"),
            *("not in the text", "not in the text", f"{paper.efficiency:g}x"),
        ),
    ]
    for name, report in (("responses written", compute.written), ("responses given", compute.given)):
        rows += [(f"{row[0]}; {name}", HERE, *row[1:]) for row in _compared(report)]
    if len(rows) == 3:
        missing = f"not run: `{COMMAND} {PAIR}/{SFT} {PAIR}/{OPD}`"
        rows.append(("SFT + OPD", HERE, missing, MISSING, MISSING, MISSING, MISSING))
    header = ("method", "", "AIME24", "data", "teacher FLOPs", "student FLOPs", "compute efficiency")
    return TextTable("Table 2: what SFT would take to reach as far", header, tuple(rows))


def _compared(report: CostReport | None) -> Iterator[tuple[str, ...]]:
    """The rows of the comparisons alone, which follow two tables of costs."""
    for table in cost_tables(report)[2:] if report is not None else ():
        yield from table.rows


def table_3(scores: Scores) -> TextTable:
    """The gain of distillation with one tokenizer and across tokenizers."""
    paper = published()
    rows: list[tuple[str, ...]] = []
    for number, (title, tasks) in enumerate(zip((*paper.titles, "Avg."), _columns(), strict=True)):
        numbers = [
            text
            for pair in (SAME, CROSS)
            for text in (
                *(f"{paper.scores[pair][method][number]:.1f}" for method in (SFT, OPD)),
                f"+{paper.gains[pair][number]:.1f}",
            )
        ]
        rows.append((title, PAPER, *numbers))
        here = [
            text
            for pair in (SAME, CROSS)
            for text in (
                *(_score(scores.score(pair, method, tasks)) for method in (SFT, OPD)),
                _gain(scores.gain(pair, SFT, OPD, tasks)),
            )
        ]
        rows.append((title, HERE, *here))
    missing = [f"{pair}/{OPD}" for pair in (SAME, CROSS) if scores.gain(pair, SFT, OPD, _columns()[-1]) is None]
    if missing:
        commands = "; ".join(f"not run: `{COMMAND} {name}`" for name in missing)
        rows.append((commands, "", *[MISSING] * 6))
    header = ("benchmark", "", *(f"{kind} {name}" for kind in ("same:", "cross:") for name in ("SFT", "OPD", "gain")))
    return TextTable("Table 3: gain of distillation, one tokenizer against two", header, tuple(rows))


def _columns() -> list[tuple[str, ...]]:
    """The tasks of each column; the last is the average of all."""
    benchmarks = published().benchmarks
    return [*((name,) for name in benchmarks), benchmarks]


def _or_command(cells: Sequence[str], name: str) -> list[str]:
    """The cells; the last says how to fill those that are missing."""
    if MISSING not in cells:
        return list(cells)
    return [*cells[:-1], f"not run: `{COMMAND} {name}`"]


def _score(found: Estimate | None) -> str:
    return MISSING if found is None else f"{share(found.mean)} ({share(found.low)} to {share(found.high)})"


def _gain(found: Estimate | None) -> str:
    return MISSING if found is None else f"{points(found.mean)} ({points_interval(found)})"
