"""The formats of data sets, by TRL's names of columns, and the prompt that a row has in each of them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Self

from trl.data_utils import extract_prompt, maybe_convert_to_chatml

from crossdistill.chat.messages import Message
from crossdistill.chat.prompts import as_prompt, shortened
from crossdistill.findings import Kind, Severity, When

NO_FORMAT = Kind(
    "no_data_format",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} has no 'prompt' column, only {columns}: rename the column that holds prompts to prompt, or whole "
    "conversations to messages; a run file names them (prompt_column, messages_column).",
    "there is nothing to read",
)
TOKENISED = Kind(
    "tokenised_data",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} holds token ids (input_ids) in place of texts, and of which tokenizer is not known: give the texts or "
    "messages that they were made of.",
    "the student reads the ids of another tokenizer as other words",
)
NO_BORDER = Kind(
    "text_without_border",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} has a 'text' column, and nothing says where the prompt of a text ends and its answer begins: give prompt "
    "(and completion) or messages; if the student is to go on where each text ends, rename the column to prompt "
    "(prompt_column = 'text' in a run file).",
    "the student goes on after texts that are complete",
)
NOT_A_CONVERSATION = Kind(
    "not_a_conversation",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the {column!r} of row {row} is {value}: it must be a list of messages, each with a 'role' and a 'content'; whole "
    "texts belong into a column 'text', the beginnings of texts into a column 'prompt'.",
    "a conversation is read as a text, without any template",
)
MIXED_FORMATS = Kind(
    "mixed_formats",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "row {row} has no {column!r} and has {others}, while other rows have {column!r}: a data set has one format; write "
    "all rows in the same columns, or make a data set of each format.",
    "some of the rows are left out, or read as what they are not",
)
NO_PROMPT = Kind(
    "conversation_without_prompt",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the {column!r} of row {row} {problem}, so that there is nothing to answer: leave the row out.",
    "the student is asked nothing",
)
IMPLICIT_TEXT = Kind(
    "implicit_prompt_of_texts",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the prompt of row {row} is implicit, the common beginning of two texts ('chosen' and 'rejected'), which may end "
    "within a word: give a column 'prompt', or the two as messages.",
    "the student goes on in the middle of a word",
)

CONVERSATIONS = "conversations"
"""The older name of ``messages``, with the keys ``from`` and ``value``."""


class DataFormat(StrEnum):
    """How the rows of a data set hold what is asked and answered.

    Example:
        >>> str(DataFormat.of(["messages", "id"], "the data"))
        'messages'
        >>> str(DataFormat.of(["prompt", "completion", "messages"], "the data"))  # as in TRL
        'prompt-completion'
    """

    PROMPT = "prompt"
    PROMPT_COMPLETION = "prompt-completion"
    MESSAGES = "messages"
    TEXT = "text"
    PREFERENCE = "preference"
    """A chosen and a rejected answer, each with the prompt that both begin with."""

    @classmethod
    def of(cls, columns: Collection[str], what: str) -> Self:
        """The format of a data set.

        Args:
            columns: their names.
            what: what messages call the data set.

        Raises:
            FindingError: it has none.
        """
        found = {
            cls.PROMPT_COMPLETION: {"prompt", "completion"} <= set(columns),
            cls.PROMPT: "prompt" in columns,
            cls.MESSAGES: "messages" in columns or CONVERSATIONS in columns,
            cls.TEXT: "text" in columns,
            cls.PREFERENCE: {"chosen", "rejected"} <= set(columns),
        }
        data_format = next((one for one, is_there in found.items() if is_there), None)
        if data_format is None and "input_ids" in columns:
            raise TOKENISED.error(what=what)
        if data_format is None:
            raise NO_FORMAT.error(what=what, columns=", ".join(columns) or "none")
        return data_format

    def main_column(self, columns: Collection[str]) -> str:
        """The column by which this format is known, among those of a data set that has it."""
        if self is DataFormat.MESSAGES:
            return "messages" if "messages" in columns else CONVERSATIONS
        return {DataFormat.TEXT: "text", DataFormat.PREFERENCE: "chosen"}.get(self, "prompt")


_MAIN_COLUMNS = ("prompt", "messages", CONVERSATIONS, "text", "chosen")


def check_filled(row: Mapping[str, Any], number: int, column: str) -> None:
    """Check that a row whose main column is null is not of another format.

    Args:
        row: of a data set.
        number: of the row.
        column: that is null.

    Raises:
        FindingError: it is.
    """
    others = [name for name in _MAIN_COLUMNS if name != column and row.get(name) is not None]
    if others:
        raise MIXED_FORMATS.error(row=number, column=column, others=" and ".join(map(repr, others)))


def conversation(value: Any, number: int, column: str) -> list[Message]:
    """The messages in a cell, in the plain form of :func:`crossdistill.chat.prompts.as_prompt`.

    Args:
        value: messages, perhaps with the keys ``from`` and ``value``, or as JSON text.
        number: of the row.
        column: of the cell.

    Raises:
        FindingError: it is no conversation.

    Example:
        >>> conversation([{"from": "user", "value": "Hi!"}], 0, "conversations")
        [{'role': 'user', 'content': 'Hi!'}]
    """
    messages = as_prompt(_raw_conversation(value, number, column), f"the {column!r} of row {number}")
    assert not isinstance(messages, str)
    return messages


def _raw_conversation(value: Any, number: int, column: str) -> list[Any]:
    if isinstance(value, str):
        value = as_prompt(value, f"the {column!r} of row {number}")
    if not isinstance(value, list | tuple) or not all(isinstance(message, Mapping) for message in value):
        raise NOT_A_CONVERSATION.error(row=number, column=column, value=shortened(repr(value)))
    messages: list[Any] = maybe_convert_to_chatml({"messages": [dict(message) for message in value]})["messages"]
    return messages


# ---- prompts --------------------------------------------------------------------------------------------------------


def as_prompts(data: Any, what: str) -> Any:
    """A table with the columns ``prompt`` and, if its rows hold answers, ``completion``, whatever its format is.

    Args:
        data: a ``datasets.Dataset``.
        what: what messages call it.

    Raises:
        FindingError: its format is unusable, or a row is.
    """
    data_format = DataFormat.of(data.column_names, what)
    if "prompt" in data.column_names:
        return data
    if data_format is DataFormat.TEXT:
        raise NO_BORDER.error(what=what)
    column = data_format.main_column(data.column_names)
    replaced = {column, "rejected"} if data_format is DataFormat.PREFERENCE else {column}
    return data.map(
        partial(_with_prompt, data_format=data_format),
        with_indices=True,
        remove_columns=sorted(replaced),
        features=_features(data, column, replaced, data_format),
        load_from_cache_file=False,
    )


def prompt_columns(columns: Iterable[str]) -> list[str]:
    """The columns of :func:`as_prompts`, or `columns` themselves if they hold no prompts.

    Example:
        >>> prompt_columns(["id", "messages"]), prompt_columns(["question"])
        (['id', 'prompt', 'completion'], ['question'])
    """
    names = list(columns)
    if "prompt" in names:
        return names
    if "messages" in names or CONVERSATIONS in names:
        return [name for name in names if name not in ("messages", CONVERSATIONS)] + ["prompt", "completion"]
    if {"chosen", "rejected"} <= set(names):
        return [name for name in names if name not in ("chosen", "rejected")] + ["prompt"]
    return names


def prompt_row(row: Mapping[str, Any], number: int, what: str) -> dict[str, Any]:
    """A row with its ``prompt`` and, if it holds an answer, its ``completion``, in place of the columns of its format.

    The prompt of a conversation is what comes before its last message if that is the assistant's, else all of it.

    Args:
        row: of a data set of any format but text.
        number: of the row.
        what: what messages call the data set.

    Raises:
        FindingError: the row cannot be used.

    Example:
        >>> turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
        >>> prompt_row({"messages": turns}, 0, "the data")["prompt"]
        [{'role': 'user', 'content': '1 + 1?'}]
    """
    if "prompt" in row:
        return dict(row)
    data_format = DataFormat.of(row, what)
    if data_format is DataFormat.TEXT:
        raise NO_BORDER.error(what=what)
    column = data_format.main_column(row)
    rest = {name: value for name, value in row.items() if name not in (column, "rejected")}
    return {**rest, **_with_prompt(dict(row), number, data_format)}


def _with_prompt(row: dict[str, Any], number: int, data_format: DataFormat) -> dict[str, Any]:
    column = data_format.main_column(row)
    if row[column] is None:
        check_filled(row, number, column)
    if data_format is DataFormat.PREFERENCE:
        return {"prompt": _implicit(row, number)}
    messages = _raw_conversation(row[column], number, column)
    border = len(messages) - (bool(messages) and messages[-1].get("role") == "assistant")
    if not border:
        problem = "holds nothing but an answer of the assistant" if messages else "is empty"
        raise NO_PROMPT.error(row=number, column=column, problem=problem)
    prompt, answer = messages[:border], messages[border:] or None
    if isinstance(row[column], str):  # tables of one type a column have conversations as text
        return {"prompt": json.dumps(prompt), "completion": answer and json.dumps(answer)}
    return {"prompt": prompt, "completion": answer}


def _implicit(row: Mapping[str, Any], number: int) -> Sequence[Any]:
    """The beginning that two conversations share."""
    if isinstance(row["chosen"], str):
        raise IMPLICIT_TEXT.error(row=number)
    chosen, rejected = (_raw_conversation(row[name], number, name) for name in ("chosen", "rejected"))
    prompt: Sequence[Any] = extract_prompt({"chosen": chosen, "rejected": rejected})["prompt"]
    if not prompt:
        raise NO_PROMPT.error(row=number, column="chosen", problem="differs from 'rejected' in its first message")
    return prompt


def _features(data: Any, column: str, replaced: Collection[str], data_format: DataFormat) -> Any:
    """The types of the new table: those of the messages, which differ from row to row; None to infer them."""
    from datasets import Features

    if column == CONVERSATIONS:
        return None
    kept = {name: feature for name, feature in data.features.items() if name not in replaced}
    new = ["prompt"] if data_format is DataFormat.PREFERENCE else ["prompt", "completion"]
    return Features({**kept, **dict.fromkeys(new, data.features[column])})
