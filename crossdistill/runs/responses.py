"""Recorded responses to align: the rows of a file, or the samples of a finished run."""

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
class RecordedResponse:
    """A response from a file.

    Attributes:
        content: a text, its bytes, or token ids of the student.
        prompt: plain text; empty if there is none.
    """

    content: str | bytes | list[int]
    prompt: str = ""


def read_responses(path: Path, column: str | None = None) -> Iterator[RecordedResponse]:
    """Responses in the rows of a file. A .jsonl file or a pipe is read line by line.

    Args:
        path: a .jsonl, .json, .csv or .parquet file, or a pipe of lines of JSON. The latter two types need datasets.
        column: that holds the responses; by default, the first of the usual names that a row has.

    Raises:
        InputError: there is no such file, it cannot be read, or a row holds no response.
    """
    if not path.exists() or path.is_dir():
        raise InputError(f"there is no file {path}: give the path of a file of responses.")
    for number, row in _rows(path):
        yield _response(row, column, f"row {number} of {path}")


def read_sample_views(folder: Path) -> Iterator[SampleView]:
    """The samples of a finished run, as its report shows them.

    Raises:
        InputError: the folder has none, or a view is missing or damaged.
    """
    path = samples_file(folder)
    for number, row in _lines(path):
        if "view" not in row:
            raise InputError(
                f"row {number} of {path} holds no view, so no run has written it: name STUDENT and TEACHER to align "
                "the responses anew."
            )
        try:
            view = SampleView.from_dict(row["view"])
        except ValueError as error:
            raise InputError(
                f"the view in row {number} of {path} is damaged ({error}): restore the file from a backup, or name "
                "STUDENT and TEACHER to align the responses anew."
            ) from None
        yield view


def read_sample_responses(folder: Path) -> Iterator[RecordedResponse]:
    """The responses in the samples of a finished run, byte for byte as they were sampled.

    Raises:
        InputError: the folder has none, or a row is damaged.
    """
    path = samples_file(folder)
    for number, row in _lines(path):
        where = f"row {number} of {path}"
        if row.get("bytes") is None:  # an early run, whose text may hold escapes; its ids are exact
            yield _response(row, "ids", where)
        else:
            yield RecordedResponse(_from_base64(row["bytes"], where), _text(row.get("prompt")) or "")


def samples_file(folder: Path) -> Path:
    """Path of a run's samples.

    Raises:
        InputError: the run has none.
    """
    path = folder / SAMPLES_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} has no {SAMPLES_FILE}, which a run writes as it ends: give the output folder of a finished run, "
            "or a file of responses (such as a parquet file of log_completions) with --responses."
        )
    return path


def take(items: Iterator[Any], limit: int | None) -> tuple[list[Any], bool]:
    """The first `limit` items (all if it is None), and whether there are more.

    Example:
        >>> take(iter("abc"), 2)
        (['a', 'b'], True)
    """
    if limit is None:
        return list(items), False
    taken = list(islice(items, limit))
    return taken, next(items, None) is not None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file, each with its number from 1."""
    if path.suffix == ".jsonl" or not path.is_file():
        return _lines(path)
    return _json_rows(path) if path.suffix == ".json" else enumerate(load_rows(str(path)), 1)


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a .json file: an array of them, or one per line."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file that can.") from None
    except (ValueError, RecursionError):
        yield from _lines(path)
        return
    rows = content if isinstance(content, list) else [content]
    if not rows:
        raise InputError(f"{path} holds no responses: give an array of objects, or one object per line.")
    for number, row in enumerate(rows, 1):
        yield number, _checked_object(row, f"row {number} of {path}")


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one per line, each with its line number; empty lines are skipped."""
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
        raise InputError(f"{path} holds no responses: give a file with one object per line.")


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply to be a response: repair it.") from None
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}): repair it.") from None
    return _checked_object(row, where)


def _checked_object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{where} is of type {type(row).__name__}: it must be a JSON object.")
    return row


def _from_base64(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise InputError(
            f"{where} holds no base64 in 'bytes', so no run has written it: restore the file from a backup."
        ) from None


def _response(row: dict[str, Any], column: str | None, where: str) -> RecordedResponse:
    name = column or next((known for known in _COLUMNS if row.get(known) is not None), None)
    if name is None or name not in row:
        wanted = f"no {column!r} column" if column else f"none of the columns {', '.join(_COLUMNS)}"
        raise InputError(f"{where} has {wanted}, only {', '.join(row) or 'none'}: name the one to read with --column.")
    for read in (_text, _ids):
        content = read(row[name])
        if content is not None:
            return RecordedResponse(content, _text(row.get("prompt")) or "")
    raise InputError(
        f"{name!r} in {where} is of type {type(row[name]).__name__}: it must be a text, messages or token ids."
    )


def _text(value: Any) -> str | None:
    """A text, or the joined texts of messages; None for anything else."""
    if isinstance(value, str):
        return value
    is_conversation = isinstance(value, list) and value != [] and all(isinstance(part, dict) for part in value)
    return "\n".join(str(part.get("content") or "") for part in value) if is_conversation else None


def _ids(value: Any) -> list[int] | None:
    is_ids = isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    return value if is_ids else None
