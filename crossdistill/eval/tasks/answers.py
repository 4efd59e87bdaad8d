"""Right answers as files give them, in the one form that graders take."""

import math
from decimal import Decimal
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.row import Row

_SOLUTION_END = "####"


def answer_texts(row: Row, name: str) -> str | list[str]:
    """The right answer of a row as a text, or several accepted ones as a list.

    A number is written without an exponent, true and false as ``True`` and ``False``. Of a worked solution that ends
    with ``#### 18``, as in GSM8K, the part after the mark counts.

    Args:
        row: to read.
        name: column of the answer: a text, a number, true or false, or a list of these, each of which is accepted.

    Raises:
        InputError: there is no answer, an empty one, or one of another type.

    Example:
        >>> answer_texts(Row({"answer": 18}, 1, "sums.jsonl"), "answer")
        '18'
        >>> answer_texts(Row({"answer": ["1/2", 0.5]}, 1, "sums.jsonl"), "answer")
        ['1/2', '0.5']
    """
    value = row.value(name)
    if not isinstance(value, list | tuple):
        return _text(value, row, name)
    if not value:
        raise InputError(f"{row.where} has an empty list as {name!r}: give at least one accepted answer.")
    return [_text(one, row, name) for one in value]


def _text(value: Any, row: Row, name: str) -> str:
    if isinstance(value, str):
        text = value.rpartition(_SOLUTION_END)[2].strip()
        if not text:
            raise InputError(f"{row.where} has an empty {name!r}: fill it, or leave the row out.")
        return text
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value)), "f")
    raise InputError(
        f"{row.where} has {value!r} as {name!r}: give a text, a finite number, true or false, or a list of them."
    )
