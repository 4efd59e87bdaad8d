"""The interface that every tokenizer is reduced to: its entries as bytes, and how it tokenises text."""

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

    Attributes:
        kind: family of the tokenizer (:attr:`crossdistill.ByteVocab.kind`).
        pieces: bytes of each id; ``b""`` for special, control and unknown tokens and for unused ids.
        byte_ids: the id of each of the 256 single bytes, None if the byte has no entry.
        encodes_any_bytes: whether the entries are bytes, or fall back on bytes, so that any bytes can be encoded apart
            from single values that may be missing. Otherwise the entries are characters.
        keeps_spaces: whether the tokens contain the white space between words.
    """

    kind: str
    pieces: list[bytes]
    byte_ids: tuple[int | None, ...]
    encodes_any_bytes: bool = True
    keeps_spaces: bool = True


class TokenSpans(NamedTuple):
    """Token ids of a text, and the span of each in the bytes of the *normalised* text, int64 [num tokens] each."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Source(Protocol):
    """A tokenizer, as it tokenises text in the middle of a conversation."""

    entries: VocabEntries

    def ids(self, text: str) -> list[int]:
        """Its own ids of valid text: no special tokens, no dummy prefix; a special token's name in the text is text."""
        ...

    def merged(self, data: bytes) -> list[int]:
        """Ids of any bytes, merged as far as the merges go. Their bytes may differ from `data`: the caller checks."""
        ...

    def segments(self, text: str) -> list[str]:
        """`text` split around the added tokens in it, into parts that are tokenised separately."""
        ...

    def normalise(self, text: str) -> bytes:
        """The bytes of the tokens of `text`."""
        ...


class CharacterSource(Source, Protocol):
    """A tokenizer whose entries are characters (``encodes_any_bytes`` is False)."""

    def token_spans(self, text: str) -> TokenSpans:
        """Its ids of `text`, including unknown tokens, with their spans."""
        ...


class ByteSource:
    """Base of tokenizers whose entries are bytes, and that have neither a normaliser nor added words."""

    def segments(self, text: str) -> list[str]:
        return [text]

    def normalise(self, text: str) -> bytes:
        return text.encode("utf-8")


def byte_ids_of(pieces: list[bytes]) -> tuple[int | None, ...]:
    """The id of each single byte, None if it has no entry; the lowest if several entries have the same bytes."""
    ids: dict[bytes, int] = {}
    for token_id, piece in enumerate(pieces):
        if len(piece) == 1:
            ids.setdefault(piece, token_id)
    return tuple(ids.get(bytes([byte])) for byte in range(256))
