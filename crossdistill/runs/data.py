"""Rows of a data set, from a file, a saved data set or the hub."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.extras import require
from crossdistill.runs.file_texts import cells_as_text, dates_as_text
from crossdistill.space import telling_out_of_space

_LOGGER = logging.getLogger("crossdistill")
_WHOLE = ("messages", "text")
"""Columns that hold prompt and answer together."""
_OF_FORMATS = (*_WHOLE, "prompt", "completion", "conversations", "chosen", "rejected")
"""Columns by which formats are known."""
_MEANING = {"messages": "conversations"}
_READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


def load_rows(source: str, split: str = "train", name: str | None = None, columns: dict[str, str] | None = None) -> Any:
    """Load rows as a ``datasets.Dataset``.

    Args:
        source: a .jsonl, .json, .csv or .parquet file, the folder of a saved data set, or a hub id.
        split: of a hub data set, or of a folder with several splits.
        name: configuration of a hub data set.
        columns: wanted name -> name in the source; columns are renamed accordingly.

    Raises:
        InputError: the data set does not exist, is empty, cannot be read or lacks a column; or datasets is not
            installed.
    """
    require("train", "datasets", user=f"reading {source}")
    path = Path(source)
    dataset = _from_file(path, split) if path.exists() or path.suffix in _READERS else _from_hub(source, split, name)
    if len(dataset) == 0:
        raise InputError(f"the data set {source} is empty: give at least one row.")
    return renamed(dataset, source, columns or {})


def renamed(dataset: Any, source: str, columns: dict[str, str]) -> Any:
    """A data set with other names of columns.

    Args:
        dataset: a ``datasets.Dataset``.
        source: what messages call it.
        columns: wanted name -> its name.

    Raises:
        InputError: it lacks a column.
    """
    for wanted, given in columns.items():
        if given not in dataset.column_names:
            raise InputError(
                f"the data set {source} has no {given!r} column, only {', '.join(dataset.column_names)}: name the "
                f"column that holds the {_MEANING.get(wanted, f'{wanted}s')} ({wanted}_column)."
            )
        if given != wanted:
            others = [wanted] if wanted in dataset.column_names else []
            dataset = dataset.remove_columns(others).rename_column(given, wanted)
    return dataset


def load_formatted(source: str, split: str, name: str | None, columns: dict[str, str | None]) -> Any:
    """Load rows of any format (:class:`crossdistill.train.data_format.DataFormat`).

    Args:
        source, split, name: as for :func:`load_rows`.
        columns: name of a format's column -> its name in the source, or None for the usual one. A name for
            ``messages`` or ``text`` chooses that format, and the columns of others are left out.

    Raises:
        InputError: as for :func:`load_rows`, or two formats are chosen.
    """
    rows = load_rows(source, split, name)
    whole = {kind: given for kind in _WHOLE if (given := columns.get(kind)) is not None}
    if len(whole) > 1:
        raise InputError("messages_column and text_column name two formats of data: give one of them.")
    if whole:
        others = [one for one in _OF_FORMATS if one in rows.column_names and one not in whole.values()]
        return renamed(rows.remove_columns(others), source, whole)
    own = {wanted: given for wanted, given in columns.items() if given is not None}
    rows = renamed(rows, source, {wanted: given for wanted, given in own.items() if given != wanted})
    for column in _WHOLE if "prompt" in rows.column_names else ():
        if column in rows.column_names:
            _LOGGER.warning(
                f"the column {column!r} of {source} is not read, because there is a column 'prompt': set "
                f"{column}_column = {column!r} to read it in place of the prompts."
            )
    return rows


def _from_file(path: Path, split: str) -> Any:
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
    from datasets.config import HF_DATASETS_CACHE
    from datasets.exceptions import DatasetGenerationError

    if not path.exists():
        raise InputError(f"there is no data set {path}: give an existing file, a saved data set's folder or a hub id.")
    if path.is_dir():
        if not (path / "dataset_info.json").exists() and not (path / "dataset_dict.json").exists():
            raise InputError(
                f"the folder {path} is not a saved data set: give one that save_to_disk has written, or a file."
            )
        saved = load_from_disk(str(path)).with_format(None)
        if not isinstance(saved, DatasetDict):
            return saved
        if split not in saved:
            raise InputError(
                f"the data set {path} has no split {split!r}, only {', '.join(saved)}: name one of them "
                "(dataset_split, eval_split)."
            )
        return saved[split]
    if path.suffix not in _READERS:
        raise InputError(f"{path} is not a file of a known type: give a {', '.join(_READERS)} file.")
    with path.open("rb") as file:
        if file.read(4096).strip() in (b"", b"[]"):
            raise InputError(f"the data set {path} is empty: give at least one row.")
    kind = _READERS[path.suffix]
    try:
        with telling_out_of_space(HF_DATASETS_CACHE):  # the rows are converted to a table there
            options = cells_as_text(path) if kind == "csv" else {}
            with _uncounted():
                rows = load_dataset(kind, data_files=str(path), split="train", **options)
            return dates_as_text(rows, path) if kind == "json" else rows
    except (DatasetGenerationError, ValueError) as error:
        if "corresponds to no data" in str(error):
            return Dataset.from_dict({})  # a table without rows, such as a CSV file with headings only
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path} cannot be read as {kind} ({reason}): repair it.") from None


@contextmanager
def _uncounted() -> Iterator[None]:
    """Read without telling the hub, which counts how often each kind of file is read: a local file needs no network."""
    from datasets import config

    was, config.HF_UPDATE_DOWNLOAD_COUNTS = config.HF_UPDATE_DOWNLOAD_COUNTS, False
    try:
        yield
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = was


def _from_hub(source: str, split: str, name: str | None) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        return load_dataset(source, name, split=split)
    except (DatasetNotFoundError, ConnectionError) as error:
        raise InputError(
            f"there is no data set {source!r}, neither as a local file nor on the hub ({type(error).__name__}): give "
            "an existing file, or a hub id that this machine can reach."
        ) from None
