"""The program of a response."""

import ast
import re
from collections.abc import Iterator

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n`]*$", re.MULTILINE)
_PYTHON = {"python", "python3", "py"}


def find_program(response: str, prefix: str = "", entry_point: str | None = None) -> str | None:
    """The program of a response, or None if there is none.

    It is the last block fenced as Python (else the last block without a language) that defines the entry point, else
    the last of them; the last block need not be closed. A response without a fence is the program itself if it parses,
    or goes on from the prefix if both together parse.

    Args:
        response: the response's text.
        prefix: the code that a model was given to continue.
        entry_point: the function, class or method that will be called.

    Example:
        >>> find_program("Here it is:\\n```python\\ndef f():\\n    return 1\\n```\\nDone.")
        'def f():\\n    return 1\\n'
    """
    found = list(blocks(response))
    programs = [text for language, text in found if language in _PYTHON] or [text for name, text in found if not name]
    if programs:
        defining = [text for text in programs if entry_point and defines(text, entry_point)]
        return (defining or programs)[-1]
    if found or not response.strip():
        return None
    return next((text for text in (response, prefix + response) if _parses(text)), None)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks: the language in lower case, and the content; the last may be unfinished.

    Example:
        >>> list(blocks("```py\\n1\\n```\\n~~~\\n2"))
        [('py', '1\\n'), ('', '2')]
    """
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2]:
            yield opened[2].lower(), text[opened.end() + 1 : fence.start()]
            opened = None
    if opened is not None:
        yield opened[2].lower(), text[opened.end() + 1 :]


def defines(source: str, name: str) -> bool:
    """Whether a text of Python, even one that is cut, defines a function, class or variable of that name."""
    return (
        re.search(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(name)}\b", source, re.MULTILINE) is not None
    )


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
