"""BERT's tokenisation of plain text, from its definition: words, then repeatedly the longest entry that matches.

For text in which every character stays one character (no accents, no control characters).
"""

import unicodedata
from collections.abc import Collection, Iterator

UNKNOWN = "[UNK]"


def words(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) in characters: runs without white space, cut at punctuation and ideographs."""
    start = None
    for position, char in enumerate(text):
        alone = unicodedata.category(char).startswith("P") or char in "$+<=>^`|~" or "\u4e00" <= char <= "\u9fff"
        if (alone or char.isspace()) and start is not None:
            yield start, position
            start = None
        if alone:
            yield position, position + 1
        elif start is None and not char.isspace():
            start = position
    if start is not None:
        yield start, len(text)


def pieces(text: str, entries: Collection[str]) -> list[tuple[str, int]]:
    """(entry, end in characters) of each token; an unknown word is one token."""
    tokens = []
    for start, end in words(text):
        word, position, found = text[start:end], 0, []
        while position < len(word):
            prefix = "##" if position else ""
            sizes = range(len(word) - position, 0, -1)
            size = next((size for size in sizes if prefix + word[position : position + size] in entries), None)
            if size is None:
                found = [(UNKNOWN, end)]
                break
            found.append((prefix + word[position : position + size], start + position + size))
            position += size
        tokens += found
    return tokens
