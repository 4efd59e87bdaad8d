"""The arena's results as Markdown, for documentation."""

from collections.abc import Iterator

from crossdistill.report.arena.claims import claims_table
from crossdistill.report.arena.statements import about, explained, lacks, progress
from crossdistill.report.arena.tables import (
    Content,
    Table,
    costs_table,
    overall_table,
    pair_table,
    side_effects_table,
)


def arena_markdown(content: Content, level: int = 2) -> str:
    """The tables of all pairs, what they lack, and the one over all pairs.

    Args:
        content: of ``arena.json``.
        level: of the headings.
    """
    blocks = [block for pair in content["pairs"] for block in _pair(content, pair, "#" * level)]
    tables = [overall_table(content), *([claims_table(content)] if content["claims"] else [])]
    at_end = [block for table in tables for block in (f"{'#' * level} {_text(table.title)}", _table(table))]
    return "\n\n".join([*blocks, *at_end, progress(content)]) + "\n"


def _pair(content: Content, pair: Content, heading: str) -> Iterator[str]:
    table = pair_table(content, pair)
    yield f"{heading} {_text(table.title)}"
    yield _text(about(pair))
    yield _table(table)
    yield " ".join(map(_text, explained(content, pair)))
    for lack in lacks(content, pair):
        command = f":\n\n    {lack.command}" if lack.command else ""
        yield f"{_text(lack.name)}: {lack.status}: {_text(lack.reason)}{command}"
    for further in (costs_table(content, pair["pair"]), side_effects_table(content, pair)):
        yield f"{heading}# {further.title}"
        yield _table(further)


def _table(table: Table) -> str:
    width = len(table.columns)
    head = [tuple(map(_text, table.columns)), ("---", *["---:"] * (width - 1))]
    apart = [("*controls*", *[""] * (width - 1))] if table.controls else []
    methods, controls = ([tuple(map(_text, line.cells)) for line in lines] for lines in (table.methods, table.controls))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*head, *methods, *apart, *controls))


def _text(text: str) -> str:
    """A text without anything that Markdown would read as more than text."""
    for sign in "\\`*_|[":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
