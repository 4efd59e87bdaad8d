r"""Boxes of a text by definition: what a brace after ``\boxed`` holds up to the brace that closes it."""

import re


def slow_boxes(text: str) -> list[str]:
    """The contents of the closed boxes, stripped, without empty ones; in the order in which they close."""
    found = []
    for begin in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        if not _is_escaped(text, begin.start()):
            end = _closing(text, begin.end())
            if end is not None and text[begin.end() : end].strip():
                found.append((end, text[begin.end() : end].strip()))
    return [content for _, content in sorted(found)]


def _closing(text: str, place: int) -> int | None:
    depth = 1
    for end in range(place, len(text)):
        if not _is_escaped(text, end):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return end
    return None


def _is_escaped(text: str, place: int) -> bool:
    """Whether an odd number of backslashes precedes."""
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
