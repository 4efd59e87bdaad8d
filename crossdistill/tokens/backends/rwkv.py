"""Vocabularies with longest-match tokenisation, such as RWKV's World."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossdistill.errors import InputError
from crossdistill.tokens.source import ByteSource, VocabEntries, byte_ids_of


class RwkvSource(ByteSource):
    """Entries are bytes; each token is the longest entry that matches at its position.

    Args:
        idx2token: the bytes of each id.

    Raises:
        InputError: a byte has no entry, so that a text could have no match at some position.
    """

    def __init__(self, idx2token: Mapping[int, bytes]):
        pieces = [b""] * (max(idx2token, default=-1) + 1)
        for token_id, data in idx2token.items():
            pieces[token_id] = data
        self.entries = VocabEntries("longest_match", pieces, byte_ids_of(pieces))
        if None in self.entries.byte_ids:
            missing = self.entries.byte_ids.index(None)
            raise InputError(
                f"this longest-match vocabulary has no entry for the byte 0x{missing:02x}, so it cannot encode every "
                "text; use a complete vocabulary."
            )
        self._ids = {data: token_id for token_id, data in reversed([*idx2token.items()]) if data}
        self._sizes = _sizes_by_start(self._ids)

    def ids(self, text: str) -> list[int]:
        return self.merged(text.encode("utf-8"))

    def merged(self, data: bytes) -> list[int]:
        ids, start = [], 0
        while start < len(data):
            sizes = self._sizes.get(data[start : start + 2], (1,))
            size = next(size for size in sizes if data[start : start + size] in self._ids)  # one byte always matches
            ids.append(self._ids[data[start : start + size]])
            start += size
        return ids


class World:
    """RWKV's World vocabulary, from the text file that comes with its models.

    Attributes:
        idx2token: bytes of each id.

    Example:
        >>> from crossdistill import ByteVocab
        >>> single_bytes = {byte: bytes([byte]) for byte in range(256)}
        >>> vocab = ByteVocab.from_tokenizer(World({**single_bytes, 256: b"hello"}))
        >>> vocab.encode("hello!").ids.tolist()
        [256, 33]
    """

    def __init__(self, idx2token: Mapping[int, bytes]):
        self.idx2token = dict(idx2token)

    @classmethod
    def from_file(cls, path: str | Path) -> "World":
        """Read a file with lines of ``id literal length``; the literals are parsed, never evaluated.

        Raises:
            InputError: a line has another form; the message names it.
        """
        entries = {}
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            token_id, _, rest = line.partition(" ")
            literal, _, size = rest.rpartition(" ")
            try:
                value = ast.literal_eval(literal)
                data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
                entries[int(token_id)] = data
                is_whole = len(data) == int(size)
            except (ValueError, SyntaxError, TypeError):
                is_whole = False
            if not is_whole:
                raise InputError(f"{path}, line {number}: {line!r} is not `id literal length`; use a World vocabulary.")
        return cls(entries)


def _sizes_by_start(entries: Iterable[bytes]) -> dict[bytes, tuple[int, ...]]:
    """Sizes of the entries by their first two bytes (or one, if they have no more), the longest first."""
    sizes: dict[bytes, set[int]] = defaultdict(lambda: {1})
    for data in entries:
        sizes[data[:2]].add(len(data))
    return {start: tuple(sorted(found, reverse=True)) for start, found in sizes.items()}
