"""Rows that SFT can learn from, and those that it leaves out, under reasons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from crossdistill.chat.messages import Prompt, text_of
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.errors import InputError
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.train.data_format import DataFormat, check_filled, conversation

ROWS_LEFT_OUT = Kind(
    "rows_left_out",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of the {total} rows of {what} are left out: {reasons}; run.json counts them.",
    "less is learnt than the data set seems to hold",
)
PAIRS = Kind(
    "answers_in_pairs",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} holds pairs of a chosen and a rejected answer, and SFT learns from one: name the one to learn ({way_out}).",
    "the student is taught answers that were rejected",
)
LABELLED = Kind(
    "labels_not_read",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of the {total} rows of {what} have a 'label' that is false, by which data for KTO marks a bad answer, and "
    "SFT learns every answer: leave these rows out if they are that.",
    "the student is taught answers that were rejected",
)
_NUM_ROWS = 3


class Reason(StrEnum):
    """Why a row is left out."""

    NULL = "null"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    NOT_ENDED = "not_ended"
    """The teacher's response did not end within its budget."""


@dataclass(frozen=True)
class SFTRows:
    """Rows of one format, each with its number in its data set.

    Attributes:
        data: the rows that are not left out, a ``datasets.Dataset`` or a list.
        numbers: of these rows.
        data_format: PROMPT_COMPLETION, MESSAGES or TEXT.
        what: what messages call the data set.
        left_out: reason -> numbers of rows.
    """

    data: Any
    numbers: Sequence[int]
    data_format: DataFormat
    what: str
    left_out: dict[Reason, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any, what: str = "the training data") -> Self:
        """The rows of a data set that are not null or empty.

        Args:
            data: a ``datasets.Dataset``.
            what: what messages call it.

        Raises:
            InputError: its format is unusable, or a row is of another format.
        """
        data_format = answered_format(data.column_names, what)
        left_out: dict[Reason, list[int]] = {}
        kept: list[int] = []
        for number, row in enumerate(data):
            reason = _reason(row, number, data_format)
            (kept if reason is None else left_out.setdefault(reason, [])).append(number)
        data = data if len(kept) == len(data) else data.select(kept)
        return cls(data, kept, data_format, what, left_out)

    @property
    def total(self) -> int:
        """Rows of the data set."""
        return len(self.numbers) + sum(map(len, self.left_out.values()))

    def texts(self) -> Iterator[tuple[int, Prompt]]:
        """The number of each row and what it spells: its prompt, or all of it if nothing divides it."""
        for number, row in zip(self.numbers, self.data, strict=True):
            column = self.data_format.main_column(row)
            if self.data_format is DataFormat.MESSAGES:
                yield number, conversation(row[column], number, column)
            else:
                is_prompt = self.data_format is DataFormat.PROMPT_COMPLETION
                yield number, as_prompt(row[column], prompt_name(number)) if is_prompt else str(row[column])

    def prompts(self) -> Iterator[tuple[int, Prompt]]:
        """The number of each row and what it asks: of a conversation, what comes before its last answer."""
        for number, text in self.texts():
            asked = _asked(text) if self.data_format is DataFormat.MESSAGES else text
            if asked:
                yield number, asked

    def label_findings(self) -> list[Finding]:
        """A warning if rows say that their answers are bad."""
        labels = self.data["label"] if "label" in self.data.column_names else []
        bad = sum(label is False for label in labels)
        return [LABELLED(count=bad, total=self.total, what=self.what)] if bad else []


def _asked(conversation: Prompt) -> Prompt:
    last = conversation[-1]
    return conversation[:-1] if isinstance(last, Mapping) and last["role"] == "assistant" else conversation


def answered_format(columns: Sequence[str], what: str) -> DataFormat:
    """The format of data that SFT can learn from.

    Args:
        columns: of the data set.
        what: what messages call it.

    Raises:
        InputError: the data holds no answers, or two to each prompt.
    """
    data_format = DataFormat.of(columns, what)
    if {"chosen", "rejected"} <= set(columns) and data_format in (DataFormat.PREFERENCE, DataFormat.PROMPT):
        is_implicit = data_format is DataFormat.PREFERENCE
        raise PAIRS.error(what=what, way_out=f"{'messages' if is_implicit else 'completion'}_column = 'chosen'")
    if data_format is DataFormat.PROMPT:
        raise InputError(
            f"{what} has no 'completion' column, only {', '.join(columns)}: name the column that holds the answers "
            "(completion_column), or a teacher that writes them."
        )
    return data_format


def left_out_findings(rows: SFTRows, left_out: Mapping[Reason, Sequence[int]], limit: int | None) -> list[Finding]:
    """A warning that tells which rows are left out.

    Args:
        rows: that were read.
        left_out: reason -> numbers of rows, those of `rows` included.
        limit: most tokens of an example; None if there is none.

    Raises:
        InputError: all are.
    """
    count = sum(map(len, left_out.values()))
    if not count:
        return []
    reasons = ", ".join(_counted(reason, numbers, limit) for reason, numbers in left_out.items())
    if count == rows.total:
        raise InputError(f"no row of {rows.what} can be used ({reasons}): give rows with an answer that fits.")
    return [ROWS_LEFT_OUT(count=count, total=rows.total, what=rows.what, reasons=reasons)]


def _counted(reason: Reason, numbers: Sequence[int], limit: int | None) -> str:
    shown = ", ".join(map(str, numbers[:_NUM_ROWS])) + (", ..." if len(numbers) > _NUM_ROWS else "")
    name = f"longer than {limit} tokens" if reason is Reason.TOO_LONG else reason.replace("_", " ")
    return f"{len(numbers)} {name} (row{'s' if len(numbers) > 1 else ''} {shown})"


def _reason(row: Mapping[str, Any], number: int, data_format: DataFormat) -> Reason | None:
    column = data_format.main_column(row)
    answer = "completion" if data_format is DataFormat.PROMPT_COMPLETION else column
    if row[column] is None:
        check_filled(row, number, column)
    if row[column] is None or row[answer] is None:
        return Reason.NULL
    return Reason.EMPTY if row[column] == [] or _is_empty(row[answer]) else None


def _is_empty(cell: Any) -> bool:
    """Whether a text or messages hold nothing but white space."""
    if isinstance(cell, str):
        return not cell.strip()
    is_list = isinstance(cell, list) and all(isinstance(message, Mapping) for message in cell)
    return is_list and not any(map(_says_something, cell))


def _says_something(message: Mapping[str, Any]) -> bool:
    text = text_of(message) if "content" in message else message.get("value")
    return bool(message.get("tool_calls")) or bool(str(text or "").strip())
