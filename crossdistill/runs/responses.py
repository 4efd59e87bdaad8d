"""Responses to align: a text, the rows of a file, or the samples that a run has left."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.report.alignment.view import SampleView
from crossdistill.runs.data import load_rows
from crossdistill.runs.run_file import SAMPLES_FILE

_COLUMNS = ("ids", "completion_ids", "token_ids", "response", "completion", "output", "answer", "text")


@dataclass(frozen=True)
class SampledText:
    """A response: a text, its bytes, or token ids of the student; with its prompt, where it has one."""

    content: str | bytes | list[int]
    prompt: str = ""


def read_answers(path: Path, column: str | None = None) -> Iterator[SampledText]:
    """The rows of a .jsonl file, one by one, or of a .json, .csv or .parquet file.

    column: that holds the responses; where it is left out, the first of the usual names that a row has.
    Raises InputError for a file that is not there and for a row that holds no response.
    """
    if not path.exists() or path.is_dir():
        raise InputError(f"there is no file {path}: give the path of a file of responses.")
    is_lines = path.suffix == ".jsonl" or not path.is_file()  # what comes through a pipe is read as lines
    rows = _lines(path) if is_lines else enumerate(load_rows(str(path)), 1)
    for number, row in rows:
        yield _answer(row, column, f"row {number} of {path}")


def read_samples(folder: Path) -> Iterator[SampleView]:
    """The samples of a finished run, as its report shows them."""
    path = samples_file(folder)
    for number, row in _lines(path):
        if "view" not in row:
            raise InputError(f"row {number} of {path} holds no view: it was not written by a run.")
        try:
            view = SampleView.from_dict(row["view"])
        except ValueError as error:
            raise InputError(
                f"the view in row {number} of {path} is damaged ({error}): take the file from a backup, or name "
                "STUDENT and TEACHER to align the responses anew."
            ) from None
        yield view


def read_sampled(folder: Path) -> Iterator[SampledText]:
    """The responses of a finished run, byte for byte as they were sampled, to be aligned anew."""
    path = samples_file(folder)
    for number, row in _lines(path):
        where = f"row {number} of {path}"
        if row.get("bytes") is None:  # of a run before the bytes were kept: the text may hold escapes, the ids do not
            yield _answer(row, "ids", where)
        else:
            yield SampledText(_decoded(row["bytes"], where), _text(row.get("prompt")) or "")


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
    """The objects of a file of lines, each with its number from 1; empty lines are passed over, but not all may be."""
    has_rows = False
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    has_rows = True
                    yield number, _object(line, f"line {number} of {path}")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file that can.") from None
    if not has_rows:
        raise InputError(f"{path} holds no responses: give a file with one object a line.")


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply to be read: it is no response.") from None
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}): repair it.") from None
    if not isinstance(row, dict):
        raise InputError(f"{where} is a {type(row).__name__}: each line must be an object.")
    return row


def _decoded(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise InputError(f"{where} holds no base64 in 'bytes': it was not written by a run.") from None


def _answer(row: dict[str, Any], column: str | None, where: str) -> SampledText:
    name = column or next((known for known in _COLUMNS if row.get(known) is not None), None)
    if name is None or name not in row:
        wanted = f"no {column!r} column" if column else f"none of the columns {', '.join(_COLUMNS)}"
        raise InputError(f"{where} has {wanted}, only {', '.join(row) or 'none'}: name the one to read with --column.")
    for read in (_text, _ids):
        content = read(row[name])
        if content is not None:
            return SampledText(content, _text(row.get("prompt")) or "")
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
