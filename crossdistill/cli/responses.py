"""Responses to align: a text, the rows of a file, or the samples that a run has left."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.report.run_file import SAMPLES_FILE
from crossdistill.report.view import SampleView
from crossdistill.runs.data import load_rows

_COLUMNS = ("ids", "completion_ids", "token_ids", "response", "completion", "output", "answer", "text")


@dataclass(frozen=True)
class Answer:
    """A response: a text or token ids of the student; with its prompt, where it has one."""

    content: str | list[int]
    prompt: str = ""


def read_answers(path: Path, column: str | None = None) -> Iterator[Answer]:
    """The rows of a .jsonl file, one by one, or of a .json, .csv or .parquet file.

    column: that holds the responses; where it is left out, the first of the usual names that a row has.
    Raises InputError for a file that is not there and for a row that holds no response.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: give the path of a file of responses.")
    rows = _lines(path) if path.suffix == ".jsonl" else enumerate(load_rows(str(path)), 1)
    for number, row in rows:
        yield _answer(row, column, f"row {number} of {path}")


def read_samples(folder: Path) -> Iterator[SampleView]:
    """The samples of a finished run, as its report shows them."""
    for number, row in _lines(samples_file(folder)):
        if not isinstance(row.get("view"), dict):
            raise InputError(f"row {number} of {folder / SAMPLES_FILE} holds no view: it was not written by a run.")
        yield SampleView.from_dict(row["view"])


def samples_file(folder: Path) -> Path:
    """Where a run's samples are; InputError where it has none."""
    path = folder / SAMPLES_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} has no {SAMPLES_FILE}, which a run writes as it ends: give the output folder of a finished run, "
            "or a file of responses (such as a parquet file of log_completions) with --responses."
        )
    return path


def first(items: Iterator[Any], limit: int | None) -> tuple[list[Any], bool]:
    """The first `limit` items, and whether there are more; all where it is None."""
    if limit is None:
        return list(items), False
    taken = list(islice(items, limit))
    return taken, next(items, None) is not None


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of lines, each with its number from 1; empty lines are passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"line {number} of {path} is not JSON ({error}): repair it.") from None
            if not isinstance(row, dict):
                raise InputError(f"line {number} of {path} is a {type(row).__name__}: each line must be an object.")
            yield number, row


def _answer(row: dict[str, Any], column: str | None, where: str) -> Answer:
    name = column or next((known for known in _COLUMNS if row.get(known) is not None), None)
    if name is None or name not in row:
        wanted = f"no {column!r} column" if column else f"none of the columns {', '.join(_COLUMNS)}"
        raise InputError(f"{where} has {wanted}, only {', '.join(row) or 'none'}: name the one to read with --column.")
    for read in (_text, _ids):
        content = read(row[name])
        if content is not None:
            return Answer(content, _text(row.get("prompt")) or "")
    raise InputError(
        f"{where} holds a {type(row[name]).__name__} in {name!r}: it must be a text, messages or token ids."
    )


def _text(value: Any) -> str | None:
    """A text, or messages put one after the other."""
    if isinstance(value, str):
        return value
    is_conversation = isinstance(value, list) and value != [] and all(isinstance(part, dict) for part in value)
    return "\n".join(str(part.get("content") or "") for part in value) if is_conversation else None


def _ids(value: Any) -> list[int] | None:
    is_ids = isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    return value if is_ids else None
