"""Objects of a JSON file."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def json_rows(text: str) -> list[Any]:
    """The objects of a file: in one list, or one a line.

    Raises:
        ValueError: it is not JSON; the message has the line.

    Example:
        >>> json_rows('{"a": 1}\\n\\n{"a": 2}\\n') == json_rows('[{"a": 1}, {"a": 2}]')
        True
    """
    if text.lstrip().startswith("["):
        rows: list[Any] = json.loads(text)
        return rows
    return list(json_lines(text.split("\n")))


def json_lines(lines: Iterable[str]) -> Iterator[Any]:
    """One value a line, without the blank ones.

    Args:
        lines: not cut at U+2028 and the like, which JSON allows within a text.

    Raises:
        ValueError: a line is not JSON; the message has its number.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from None
