"""The alignment view in the terminal, and the warnings of a run."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.report.alignment.view import ChunkView, SampleView, TokenView
from crossdistill.report.format import nats, percent, signed

_LABELS = ("student", "teacher")
_LABEL_WIDTH = len("student  ")
_MISMATCH_STYLES = ("bold cyan", "bold magenta")
_STYLES = {"1:1": "dim", "stop": "green", "dropped": "strike red"}
_BETWEEN_TOKENS = "|"
_MAX_PROMPT = 400


def print_sample(console: Console, view: SampleView, *, max_rows: int = 40) -> None:
    """Print a sample: student tokens over teacher tokens, then a table of the mismatched chunks and a summary line.

    Chunks are separated by spaces and the tokens within a chunk by ``|``. 1:1 chunks are dim; mismatched ones
    alternate between two colours.

    Args:
        console: where to print.
        view: the sample.
        max_rows: most rows of the table; a line below it counts those left out.
    """
    if view.prompt:
        console.print(Text(_shortened(view.prompt), style="italic"))
    if view.note:
        console.print(Text(view.note, style="yellow"))
    for line in _lines(view.chunks, console.width - _LABEL_WIDTH - 1):
        console.print(line, overflow="fold")
    mismatched = [(number, chunk) for number, chunk in enumerate(view.chunks, 1) if chunk.is_mismatched]
    if mismatched:
        console.print(_table(mismatched[:max_rows]))
    if len(mismatched) > max_rows:
        console.print(Text(f"and {len(mismatched) - max_rows} more mismatched chunks", style="dim"))
    console.print(Text(summary(view)))


def print_warnings(console: Console, warnings: Iterable[dict[str, Any]]) -> None:
    """Print the ``warnings`` of ``run.json``, one line each."""
    for warning in warnings:
        console.print(Text(f"warning at step {warning['step']}: {warning['message']}", style="yellow"), soft_wrap=True)


def summary(view: SampleView) -> str:
    """One line: chunks, the share of student tokens in 1:1 chunks, the largest chunk, dropped tokens."""
    parts = [_count(len(view.aligned_chunks), "chunk"), f"{percent(view.one_to_one_share)} of student tokens 1:1"]
    if view.largest_chunk is not None:
        largest = view.largest_chunk
        parts.append(f"largest chunk {len(largest.student)}:{len(largest.teacher)} ({largest.text})")
    num_dropped = sum(len(chunk.student) for chunk in view.chunks if chunk.kind == "dropped")
    if num_dropped:
        parts.append(f"{_count(num_dropped, 'token')} dropped")
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _shortened(prompt: str) -> str:
    half = _MAX_PROMPT // 2
    return prompt if len(prompt) <= _MAX_PROMPT else f"{prompt[:half]} … {prompt[-half:]}"


def _lines(chunks: Sequence[ChunkView], width: int) -> Iterator[Text]:
    """Pairs of lines, student over teacher: the chunks in columns, as many to a line as `width` holds."""
    row: list[tuple[str, str, str]] = []
    used = 0
    num_mismatched = 0
    for chunk in chunks:
        style = _STYLES.get(chunk.kind) or _MISMATCH_STYLES[num_mismatched % 2]
        num_mismatched += chunk.is_mismatched
        cell = (_joined(chunk.student), _joined(chunk.teacher), style)
        size = _cell_width(cell) + 1
        if row and used + size > width:
            yield from _pair(row)
            row, used = [], 0
        row.append(cell)
        used += size
    if row:
        yield from _pair(row)


def _pair(row: list[tuple[str, str, str]]) -> Iterator[Text]:
    for side, label in enumerate(_LABELS):
        line = Text(f"{label:{_LABEL_WIDTH}}", style="default")
        for cell in row:
            line.append(cell[side], style=cell[2])
            line.append(" " * (_cell_width(cell) - cell_len(cell[side]) + 1))
        line.rstrip()
        yield line
    yield Text("")


def _cell_width(cell: tuple[str, str, str]) -> int:
    return max(cell_len(cell[0]), cell_len(cell[1]))


def _joined(tokens: tuple[TokenView, ...]) -> str:
    return _BETWEEN_TOKENS.join(token.text for token in tokens)


def _table(numbered: Sequence[tuple[int, ChunkView]]) -> Table:
    chunks = [chunk for _, chunk in numbered]
    has_scores = any(chunk.log_ratio is not None for chunk in chunks)
    has_credit = any(token.advantage is not None for chunk in chunks for token in chunk.student)
    table = Table(title="mismatched chunks", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("#", "bytes", "kind"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("text", "student", "teacher"):
        table.add_column(name, overflow="fold")
    for name in ["log p", "log q"] * has_scores + ["advantages"] * has_credit:
        table.add_column(name, justify="right")
    for index, (number, chunk) in enumerate(numbered):
        values = [str(number), "{}–{}".format(*chunk.byte_span), chunk.kind, _whole_text(chunk)]
        values += [_joined(chunk.student), _joined(chunk.teacher)]
        values += [nats(chunk.student_logprob), nats(chunk.teacher_logprob)] * has_scores
        values += [" ".join(signed(token.advantage) for token in chunk.student)] * has_credit
        styles = ["dim", "dim", "dim", *[_MISMATCH_STYLES[index % 2]] * 3]
        table.add_row(*(Text(value, style=style or "") for value, style in zip_longest(values, styles)))
    return table


def _whole_text(chunk: ChunkView) -> str:
    return chunk.text if chunk.characters is None else f"{chunk.text} (of {chunk.characters})"
