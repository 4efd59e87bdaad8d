"""The messages that docs/troubleshooting.md quotes are messages of the package."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.snippets import ROOT

PAGE = "docs/troubleshooting.md"
FILLED_IN = r"\.\.\.|'[^']*'|\d[\d.]*%?|the student|the training data|tokens|dense|at step|the disk"
"""What a message fills in, names and numbers for instance, and where two strings make one."""
FIRST_CELLS = re.findall(r"^\| (.+?) \| ", (ROOT / PAGE).read_text(encoding="utf-8"), flags=re.MULTILINE)
QUOTES = [quote for cell in FIRST_CELLS for quote in re.findall(r"`([^`]+)`", cell) if quote.count(" ") > 2]


def texts(node: ast.AST) -> Iterator[str]:
    """The strings of a module; what an f-string fills in is `{}`, also in those that `format` fills."""
    for one in ast.walk(node):
        if isinstance(one, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in one.values)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield re.sub(r"\{[^{}]*\}", "{}", one.value)


@cache
def source() -> str:
    modules = (ROOT / "crossdistill").rglob("*.py")
    return "\n".join(text for path in modules for text in texts(ast.parse(path.read_text(encoding="utf-8"))))


def fragments(quote: str) -> list[str]:
    return [part.strip(" ,:") for part in re.split(FILLED_IN, quote) if len(part.strip(" ,:")) > 3]


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_of_the_package(quote: str) -> None:
    assert not [part for part in fragments(quote) if part not in source()]


def test_messages_are_quoted() -> None:
    assert len(QUOTES) > 10
