"""What every kind of tokenizer is reduced to: its entries as bytes, and how it reads text."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

PROBE_TEXTS = (
    "Hello, world! 3 + 4 = 7",
    "  two  spaces\n\n\ttab\r\n",
    "naïve café ≥ 2√2 ∑xᵢ",
    "你好，世界。結果は42です",
    "Привет мир שלום مرحبا",
    "🤗👩‍🚀 e\u0301",
    "\x00\x01\x7f",
)


@dataclass(frozen=True)
class VocabEntries:
    """The vocabulary of a tokenizer.

    kind: its family. pieces: bytes of each id; special, control and unknown tokens and holes in the id range carry
    none. byte_ids: the id of each of the 256 single bytes, None where there is no entry for it. spells_bytes: whether
    the entries are bytes (or fall back on them), so that any bytes can be spelled but for single values that may be
    missing; otherwise they are characters. keeps_spaces: whether they spell the white space between words.
    """

    kind: str
    pieces: list[bytes]
    byte_ids: tuple[int | None, ...]
    spells_bytes: bool = True
    keeps_spaces: bool = True


class Places(NamedTuple):
    """Token ids of a text, and the span of each in the bytes of the *normalised* text, int64 [num tokens] each."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Source(Protocol):
    """A tokenizer as it reads text in the middle of a conversation."""

    entries: VocabEntries

    def ids(self, text: str) -> list[int]:
        """Its own ids for valid text: no special tokens, no dummy prefix, text that spells a special token is text."""
        ...

    def merged(self, data: bytes) -> list[int]:
        """Ids of any bytes, merged as far as its merges go. They may fail to spell `data`: the caller checks."""
        ...

    def segments(self, text: str) -> list[str]:
        """`text` cut into parts that are read apart from each other: around the added tokens in it."""
        ...

    def normalise(self, text: str) -> bytes:
        """The bytes that its tokens stand for when it is given `text`."""
        ...


class CharacterSource(Source, Protocol):
    """A tokenizer whose entries are characters (``spells_bytes`` is False)."""

    def places(self, text: str) -> Places:
        """Its ids for `text`, unknown tokens too, with their spans."""
        ...


class ByteSource:
    """What is alike in tokenizers whose entries are bytes and which have neither a normaliser nor added words."""

    def segments(self, text: str) -> list[str]:
        return [text]

    def normalise(self, text: str) -> bytes:
        return text.encode("utf-8")


def byte_ids_of(pieces: list[bytes]) -> tuple[int | None, ...]:
    """The id of each single byte, the lowest where several have the same bytes."""
    ids: dict[bytes, int] = {}
    for token_id, piece in enumerate(pieces):
        if len(piece) == 1:
            ids.setdefault(piece, token_id)
    return tuple(ids.get(bytes([byte])) for byte in range(256))
