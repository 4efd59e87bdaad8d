"""Rows of a task's problems: from the hub, or from a file or folder of the same form."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.row import Row
from crossdistill.extras import require
from crossdistill.json_rows import json_lines, json_rows


@dataclass(frozen=True)
class HubData:
    """A data set of the hub.

    Attributes:
        id: hub id.
        config: its configuration, if it has several.
        split: its split; a data set with only one has that one, whatever it is called.
    """

    id: str
    config: str | None = None
    split: str = "test"


def read_rows(hub: HubData, source: str | Path | None = None) -> list[Row]:
    """The rows of a data set.

    Args:
        hub: the task's own data set.
        source: a file (.jsonl, .json, .csv, .parquet, .jsonl.gz), a folder or another hub id with rows of the same
            form, in place of the task's own; ``ID@REVISION`` pins a hub data set.

    Raises:
        InputError: there is no such source, it cannot be read, or it has no rows.
    """
    name = str(source or hub.id)
    rows = _local(Path(name), hub) if is_local(name) else from_hub(name, hub)
    if not rows:
        raise InputError(f"{name} is empty: give at least one row.")
    return [Row(values, number, name) for number, values in enumerate(rows, 1)]


def is_local(source: str) -> bool:
    """Whether a source is a path and not a hub id: it exists, ends as a file does, or is no id."""
    path = Path(source).expanduser()
    return path.exists() or _reader(path) is not None or source.startswith((".", "/", "~")) or source.count("/") > 1


def _local(path: Path, hub: HubData) -> list[Mapping[str, Any]]:
    path = path.expanduser()
    if path.is_dir():
        return from_folder(path, hub)
    if not path.exists():
        raise InputError(f"there is no file {path}: give an existing file, a folder or a hub id.")
    return list(read_file(path))


# ---- files ----------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file, one by one, with the types that its format has: a CSV file has texts alone.

    Raises:
        InputError: its type is unknown, it cannot be read, or a row is no object.
    """
    reader = _reader(path)
    if reader is None:
        raise InputError(f"{path} is not a file of a known type: give a {', '.join(_READERS)} file.")
    try:
        for number, row in enumerate(reader(path), 1):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is no object")
            yield row
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give a file that can.") from None
    except (ValueError, EOFError, RecursionError, csv.Error) as error:  # pyarrow's errors are ValueErrors, too
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path} cannot be read ({reason}): repair it.") from None


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        yield from json_lines(file)


def _packed_lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        yield from json_lines(file)


def _json_list(path: Path) -> list[Any]:
    return json_rows(path.read_text(encoding="utf-8-sig"))


def _csv(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8-sig")
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    rows: list[Any] = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline=""), strict=True), 1):
        if None in row:
            raise ValueError(f"row {number} has more cells than there are headings")
        rows.append(row)
    return rows


def _parquet(path: Path) -> list[Any]:
    import pyarrow.parquet

    rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


_READERS: dict[str, Callable[[Path], Any]] = {
    ".jsonl": _json_lines,
    ".json": _json_list,
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl.gz": _packed_lines,
}


def _reader(path: Path) -> Callable[[Path], Any] | None:
    return next((reader for suffix, reader in _READERS.items() if path.name.endswith(suffix)), None)


# ---- data sets ------------------------------------------------------------------------------------------------------


def from_folder(path: Path, hub: HubData) -> list[Mapping[str, Any]]:
    """The rows of a data set's folder: one that ``save_to_disk`` wrote, or a copy of the hub's repository.

    Raises:
        InputError: it cannot be read as one, or lacks the split.
    """
    require("eval", "datasets", user=f"reading {path}")
    from datasets import get_dataset_config_names, load_dataset, load_from_disk

    with _telling(str(path), "give the folder of a data set, or a file"):
        if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
            data = load_from_disk(str(path))
        else:
            configs = get_dataset_config_names(str(path))
            data = load_dataset(str(path), hub.config if hub.config in configs else None)
    return _rows_of(data, str(path), hub)


def from_hub(name: str, hub: HubData) -> list[Mapping[str, Any]]:
    """The rows of a data set of the hub.

    Args:
        name: hub id, or ``ID@REVISION``.
        hub: its configuration and split.

    Raises:
        InputError: it cannot be reached, or lacks the split.
    """
    require("eval", "datasets", user=f"reading {name}")
    from datasets import load_dataset

    address, _, revision = name.partition("@")
    with reaching_hub(name):
        data = load_dataset(address, hub.config, revision=revision or None)
    return _rows_of(data, name, hub)


def reaching_hub(name: str) -> AbstractContextManager[None]:
    """Turn the errors of reading a hub data set into one sentence.

    Args:
        name: its hub id.
    """
    return _telling(name, "give a local file or folder of the same form as the source (--source TASK=PATH)")


@contextmanager
def _telling(name: str, way_out: str) -> Iterator[None]:
    from datasets.exceptions import DatasetGenerationError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, ValueError, RuntimeError, DatasetGenerationError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"the data set {name} cannot be read ({reason}): {way_out}.") from None


def _rows_of(data: Any, name: str, hub: HubData) -> list[Mapping[str, Any]]:
    if hasattr(data, "keys"):  # several splits
        split = next(iter(data)) if len(data) == 1 else hub.split
        if split not in data:
            raise InputError(f"the data set {name} has no split {split!r}, only {', '.join(data)}: give one that has.")
        data = data[split]
    rows: list[Mapping[str, Any]] = data.with_format(None).to_list()
    return rows
