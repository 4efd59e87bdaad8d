"""One row of a data set with problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.errors import InputError


@dataclass(frozen=True)
class Row:
    """One row, which knows where it comes from, so that what is wrong with it can be told.

    Attributes:
        values: column -> value.
        number: from 1.
        source: path or hub id.

    Example:
        >>> row = Row({"question": "What is 2 + 2?"}, 1, "sums.jsonl")
        >>> row.text("prompt", "question")
        'What is 2 + 2?'
        >>> row.text("answer")
        Traceback (most recent call last):
        crossdistill.errors.InputError: row 1 of sums.jsonl has no 'answer', only 'question'.
    """

    values: Mapping[str, Any]
    number: int
    source: str

    def value(self, *names: str) -> Any:
        """The value of the first of these columns that the row has.

        Raises:
            InputError: it has none of them.
        """
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        wanted = " or ".join(map(repr, names))
        known = ", ".join(repr(name) for name, value in self.values.items() if value is not None) or "nothing"
        raise InputError(f"{self.where} has no {wanted}, only {known}.")

    def text(self, *names: str) -> str:
        """As :meth:`value`, for a text that is not blank.

        Raises:
            InputError: it has none of these columns, or the value is no text, or a blank one.
        """
        value = self.value(*names)
        name = next(name for name in names if self.values.get(name) is not None)
        if not isinstance(value, str):
            raise InputError(f"{self.where} has a value of type {type(value).__name__} as {name!r}: give a text.")
        if not value.strip():
            raise InputError(f"{self.where} has an empty {name!r}: fill it, or leave the row out.")
        return value

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"row {self.number} of {self.source}"
