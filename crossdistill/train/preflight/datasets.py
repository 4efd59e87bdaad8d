"""What may be given as data: data sets of `datasets` and of torch, and lists of rows."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from crossdistill.findings import Kind, Severity, When
from crossdistill.train.data_format import as_prompts, prompt_columns, prompt_row
from crossdistill.train.stream import Stream

SEVERAL_SPLITS = Kind(
    "several_splits",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} is a {kind} with the splits {splits}: pass one of them, such as data[{first!r}], or load it with "
    "split={first!r}.",
    "its splits would be taken for its rows",
)
NO_DATA_SET = Kind(
    "no_data_set",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} is {kind}: give a datasets.Dataset or IterableDataset, a torch data set, or a list of rows, each a dict "
    "with a 'prompt'{hint}.",
    "the run would crash",
)
NO_ROW = Kind(
    "no_row",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "row {number} of {what} is {row}: each row must be a dict with a 'prompt'.",
    "the run would crash",
)
NO_LENGTH = Kind(
    "no_length",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} is a torch data set without a length ({kind}): give it a `__len__`, or make a torch IterableDataset of it "
    "and set max_steps.",
    "the run would not know when an epoch ends",
)
UNREADABLE_ROW = Kind(
    "unreadable_row",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "row {number} of {what} cannot be read ({reason}): repair what makes the rows.",
    "the run would crash at this row",
)
_HINTS = {
    "str": "; load a file or a data set of the hub with datasets.load_dataset",
    "DataFrame": "; datasets.Dataset.from_pandas makes one of it",
    "DataLoader": "; give the data set that it reads",
    "dict": "; datasets.Dataset.from_dict makes one of columns",
    "generator": "; datasets.IterableDataset.from_generator makes one of a function that yields rows",
}


class GivenRows(torch.utils.data.Dataset[Any]):
    """Rows as they were given: a table of Arrow would refuse rows of different shapes, or fill their gaps with nulls.

    Args:
        rows: a list of rows, or a data set of torch.
        what: what messages call it, such as "the training data".

    Attributes:
        column_names: of all rows.

    Raises:
        InputError: a row is no dict, or cannot be read.

    Example:
        >>> rows = GivenRows([{"prompt": "a"}, {"prompt": "b", "teacher": "first"}], "the training data")
        >>> rows["prompt"], rows.column_names
        (['a', 'b'], ['prompt', 'teacher'])
    """

    def __init__(self, rows: Any, what: str):
        self._rows = rows
        self.column_names: list[str] = []
        for number in range(len(rows)):
            row = _row(rows, number, what)
            if not isinstance(row, Mapping):
                raise NO_ROW.error(number=number, what=what, row=_shown(row))
            self.column_names += [name for name in row if name not in self.column_names]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """A row by its number, or a column by its name, with None for rows that lack it."""
        return [row.get(key) for row in self] if isinstance(key, str) else copy.deepcopy(dict(self._rows[key]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))


class PromptStream:
    """Streamed rows of any format, each with its ``prompt``.

    Args:
        source: the rows; it can be iterated anew.
        what: what messages call it, such as "the training data".

    Attributes:
        column_names: of its rows; None if they are not known.

    Example:
        >>> stream = PromptStream([{"messages": [{"role": "user", "content": "Hi!"}]}], "the training data")
        >>> [row["prompt"] for row in stream]
        [[{'role': 'user', 'content': 'Hi!'}]]
    """

    def __init__(self, source: Any, what: str):
        self._source = source
        self._what = what
        columns = getattr(source, "column_names", None)
        self.column_names = None if columns is None else prompt_columns(columns)

    def __iter__(self) -> Iterator[Any]:
        for number, row in enumerate(self._source):
            is_other = isinstance(row, Mapping) and "prompt" in prompt_columns(row) and "prompt" not in row
            yield prompt_row(row, number, self._what) if is_other else row


def as_data(given: Any, what: str) -> Any:
    """A data set that can be checked and trained on.

    Args:
        given: a ``datasets.Dataset`` or ``IterableDataset``, a data set of torch, a list of rows, or None.
        what: what messages call it.

    Returns:
        A ``datasets.Dataset``, :class:`GivenRows` or a :class:`Stream`; None for None.

    Raises:
        InputError: something else.
    """
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    if given is None or isinstance(given, GivenRows | Stream):
        return given
    if isinstance(given, Dataset):
        return _plain(given, what)
    if isinstance(given, DatasetDict | IterableDatasetDict):
        splits = list(given) or ["train"]
        first = "train" if "train" in splits else splits[0]
        raise SEVERAL_SPLITS.error(what=what, kind=type(given).__name__, splits=", ".join(splits), first=first)
    if isinstance(given, IterableDataset):
        return Stream.behind(given) or Stream(PromptStream(given.with_format(None), what), what)
    if isinstance(given, torch.utils.data.IterableDataset):
        return Stream(
            PromptStream(given, what), what, can_peek=False
        )  # it may wait for rows, or give them to its first reader alone
    if isinstance(given, torch.utils.data.Dataset):
        if not hasattr(given, "__len__"):
            raise NO_LENGTH.error(what=what, kind=type(given).__name__)
        return _with_prompts(GivenRows(given, what), what)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return _with_prompts(GivenRows(given, what), what)
    raise NO_DATA_SET.error(what=what, kind=_kind(given), hint=_HINTS.get(type(given).__name__, ""))


def as_eval_data(given: Any, what: str = "the evaluation data") -> Any:
    """As :func:`as_data`; or several data sets by name."""
    if not isinstance(given, dict):
        return as_data(given, what)
    if not given or "prompt" in given:
        raise NO_DATA_SET.error(what=what, kind="a dict", hint=", or a dict of such data sets by name")
    return {name: as_data(one, f"{what} {name!r}") for name, one in given.items()}


def as_read(data: Any) -> Any:
    """What a trainer reads of data that :func:`as_data` or :func:`as_eval_data` returned."""
    if isinstance(data, dict):
        return {name: as_read(one) for name, one in data.items()}
    return data.dataset if isinstance(data, Stream) else data


def _plain(table: Any, what: str) -> Any:
    """A table whose rows are Python's own values; a function that makes its rows is called for each."""
    if table.format["type"] == "custom":
        return _with_prompts(GivenRows(table, what), what)
    plain = table if table.format["type"] is None else table.with_format(None)
    return as_prompts(plain, what) if len(plain) else plain


def _with_prompts(rows: GivenRows, what: str) -> GivenRows:
    if not len(rows) or "prompt" in rows.column_names:
        return rows
    return GivenRows([prompt_row(row, number, what) for number, row in enumerate(rows)], what)


def _row(rows: Any, number: int, what: str) -> Any:
    try:
        return rows[number]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UNREADABLE_ROW.error(number=number, what=what, reason=reason) from error


def _kind(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"the text {value!r}" if isinstance(value, str) else f"an object of type {type(value).__name__}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 80 else f"{shown[:77]}..."
