"""An inspected pair in the terminal."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.findings import Finding, Severity
from crossdistill.inspection.advice import general_advice
from crossdistill.inspection.measure import Measure
from crossdistill.inspection.model_info import ModelFacts
from crossdistill.inspection.pair import Inspection
from crossdistill.report.format import model_name, percent
from crossdistill.report.inspection.rows import (
    chunk_example,
    counted_token,
    histogram,
    overlap_rows,
    rewrite,
    short_side_rows,
    side_rows,
    summary_rows,
)
from crossdistill.report.inspection.verdict import IN_PART, UNUSABLE, USABLE, Verdict, verdict

_SIZE = 6
_NUM_NEVER = 16
_NUM_LARGEST = 3
_NUM_WARNINGS = 3
_NUM_PIECES = 8
_NUM_REWRITES = 6
_BETWEEN_TOKENS = "|"


def print_inspection(console: Console, pair: Inspection, is_full: bool = False) -> None:
    """Print what inspection found: the verdict, both models, what a run would warn of, figures by category.

    Args:
        console: where; at 100 columns, what is printed fits on a page of 40 lines, unless it is full.
        pair: what was inspected.
        is_full: whether to print everything: also notices, what the vocabularies share, all examples, all objectives.
    """
    _print_verdict(console, verdict(pair))
    console.print(_sides(pair, side_rows if is_full else short_side_rows))
    _print_findings(console, pair.findings, is_full)
    if is_full:
        _print_rest(console, pair)
        return
    console.print(_categories(pair))
    for example in map(chunk_example, pair.largest[:_NUM_LARGEST]):
        sides = (_shortened(example[side], _NUM_PIECES // 2) for side in ("student", "teacher"))
        line = Text(f"large chunk: {' → '.join(sides)} ({example['document']})", no_wrap=True, overflow="ellipsis")
        console.print(line)
    if pair.own_objectives:
        own = pair.advice[-len(pair.own_objectives) :]
        console.print(_rows("objectives of your own", [(entry.objective, entry.reason) for entry in own]))
    console.print(Text("--full prints everything, --html FILE writes it as a page", style="dim"))


def _print_verdict(console: Console, found: Verdict) -> None:
    styles = {USABLE: "bold green", IN_PART: "bold yellow", UNUSABLE: "bold red"}
    first, *others = found.lines
    console.print(Text(first, style=styles[found.usability]))
    for line in others:
        console.print(Text(line))
    console.print()


def _print_findings(console: Console, findings: Sequence[Finding], is_full: bool) -> None:
    """All findings, or a warning of each kind, those of the pair first, and how many others there are."""
    warnings = [finding for finding in reversed(findings) if finding.kind.severity is Severity.WARNING]
    of_each_kind = list({finding.kind.name: finding for finding in warnings}.values())
    shown = findings if is_full else of_each_kind[:_NUM_WARNINGS]
    for finding in shown:
        style = "yellow" if finding.kind.severity is Severity.WARNING else "dim"
        console.print(Text(f"- {finding.message}", style=style))
    if len(findings) > len(shown):
        console.print(Text(f"- and {len(findings) - len(shown)} more, with --full", style="dim"))
    console.print()


def _print_rest(console: Console, pair: Inspection) -> None:
    console.print(_rows("what they share", [*overlap_rows(pair.overlap), *summary_rows(pair)]))
    console.print(_categories(pair))
    console.print()
    console.print(_histogram(pair.total))
    console.print(_chunks([chunk_example(example) for example in pair.largest]))
    if pair.never_one_to_one:
        tokens = [counted_token(token) for token in pair.never_one_to_one[:_NUM_NEVER]]
        shown = "  ".join(f"{token['token']} ({token['count']})" for token in tokens)
        console.print(Text(f"most frequent student tokens that are never 1:1: {shown}"))
    for side, examples in (("student", pair.student_rewrites), ("teacher", pair.teacher_rewrites)):
        for example in map(rewrite, examples[:_NUM_REWRITES]):
            console.print(
                Text(f"rewritten by the {side}: {example['given']} → {example['spelled']} ({example['document']})")
            )
    console.print(_rows("objectives", [(entry.objective, entry.reason) for entry in pair.advice]))
    console.print(Text(general_advice(pair.total, pair.overlap)))


def _sides(pair: Inspection, rows_of: Callable[[ModelFacts], list[tuple[str, str]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for side, facts in (("student", pair.student), ("teacher", pair.teacher)):
        table.add_column(Text(f"{side} {model_name(facts.name)}"), overflow="fold")
    for (name, ours), (_, theirs) in zip(rows_of(pair.student), rows_of(pair.teacher), strict=True):
        table.add_row(Text(name), Text(ours), Text(theirs))
    return table


def _rows(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def _categories(pair: Inspection) -> Table:
    table = Table(title="by category", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for name in ("bytes", "student tokens", "teacher tokens", "1:1", "supervised", "largest chunk"):
        table.add_column(name, justify="right")
    for name, measure in {**pair.categories, "all": pair.total}.items():
        table.add_row(Text(name), *_figures(measure), style="bold" if name == "all" else "")
    return table


def _figures(measure: Measure) -> list[str]:
    student, teacher = measure.largest_chunk
    return [
        f"{measure.bytes:,}",
        f"{measure.student_tokens:,}",
        f"{measure.teacher_tokens:,}",
        percent(measure.one_to_one_share),
        percent(measure.coverage),
        f"{student}:{teacher}",
    ]


def _histogram(measure: Measure) -> Table:
    table = Table(
        title="chunks by student tokens (rows) and teacher tokens", title_justify="left", box=box.SIMPLE, pad_edge=False
    )
    labels = [*map(str, range(1, _SIZE)), f"{_SIZE}+"]
    for label in ("", *labels):
        table.add_column(label, justify="right")
    for label, row in zip(labels, histogram(measure, _SIZE), strict=True):
        table.add_row(label, *(f"{number:,}" if number else "·" for number in row))
    return table


def _chunks(examples: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="largest chunks", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("text", "student", "teacher", "in"):
        table.add_column(name, overflow="fold")
    for example in examples:
        text = Text.assemble((example["before"], "dim"), (example["text"], "bold cyan"), (example["after"], "dim"))
        sides = [Text(_shortened(example[side])) for side in ("student", "teacher")]
        table.add_row(text, *sides, Text(example["document"], style="dim"))
    return table


def _shortened(pieces: Sequence[str], most: int = _NUM_PIECES) -> str:
    shown = _BETWEEN_TOKENS.join(pieces[:most])
    return shown if len(pieces) <= most else f"{shown}… ({len(pieces)})"
