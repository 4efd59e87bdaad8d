"""A vocabulary as bytes: the bytes of each token id, and the tokens of any bytes."""

import gc
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.tokens.encoder import Encoder
from crossdistill.tokens.encoding import Encoding
from crossdistill.tokens.resolve import source_of
from crossdistill.tokens.source import PROBE_TEXTS, Source

_NUM_PIECE_PROBES = 512


class ByteVocab:
    """The bytes of every token id of one tokenizer, verified by a round trip.

    Attributes:
        kind: family of the tokenizer: ``"byte_level_bpe"``, ``"sentencepiece_bpe"``, ``"sentencepiece_unigram"``,
            ``"wordpiece"``, ``"longest_match"`` (RWKV's World) or ``"bytes"`` (ByT5).
        pieces: bytes of each id; ``b""`` for special, control and unknown tokens and for unused ids.
        lengths: int64 [size], length of each piece in bytes.
        encodes_any_bytes: whether any bytes can be encoded, except the values in `unencodable`. If False, the entries
            are characters without byte fallback, and anything without an entry becomes an unknown token.
        unencodable: the byte values that have no entry, ascending. Empty for most tokenizers; some byte-level ones lack
            control bytes, and silently drop them from their input (SmolLM2's lacks 21 values).

    Example:
        >>> from crossdistill.tokens import World
        >>> single_bytes = {byte: bytes([byte]) for byte in range(256)}
        >>> vocab = ByteVocab.from_tokenizer(World({**single_bytes, 256: b"hello", 257: b" world"}))
        >>> encoding = vocab.encode("hello world!")
        >>> encoding.ids.tolist(), encoding.ends.tolist()
        ([256, 257, 33], [5, 11, 12])
        >>> vocab.decode(encoding.ids)
        b'hello world!'
        >>> vocab.ends([257, 33]).tolist()
        [6, 7]
    """

    def __init__(self, source: Source, size: int | None = None):
        pieces = source.entries.pieces
        self.kind = source.entries.kind
        self.encodes_any_bytes = source.entries.encodes_any_bytes
        self.pieces = (*pieces, *[b""] * ((size or 0) - len(pieces)))[:size]
        self.lengths = np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(self.pieces))
        self._source = source
        self._encoder = Encoder(source, self.lengths)
        self.unencodable = self._encoder.unencodable
        self._piece_array = np.array(self.pieces, dtype=object)

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, size: int | None = None, text_tokens: Collection[str] = ()) -> "ByteVocab":
        """Read and verify the vocabulary of a tokenizer.

        Args:
            tokenizer: a Hugging Face tokenizer (fast, or slow if it is SentencePiece's or ByT5's), a
                ``tokenizers.Tokenizer``, a ``tiktoken.Encoding``, Mistral's tekken, a ``SentencePieceProcessor``, an
                RWKV World vocabulary (:class:`crossdistill.tokens.World`), or an object that wraps one of these.
            size: number of ids that the model can emit, if its vocabulary is padded beyond its tokenizer; the padding
                carries no bytes. A tokenizer may have control tokens beyond `size` (Gemma's image token).
            text_tokens: special tokens that are words of a response, such as ``<think>`` in some tokenizers: they carry
                the bytes of their name.

        Raises:
            InputError: the family is not supported, an entry's bytes cannot be verified, or `size` is too small for
                the tokenizer's text tokens.
        """
        with _without_collector():
            source = source_of(tokenizer, text_tokens)
        if size is not None and any(source.entries.pieces[size:]):
            last = max(k for k, piece in enumerate(source.entries.pieces) if piece)
            raise InputError(
                f"the model has {size} token ids but its tokenizer uses ids up to {last} for text: the two do not "
                "belong together; use the tokenizer that the model was trained with."
            )
        vocab = cls(source, size)
        vocab._verify()
        return vocab

    def __len__(self) -> int:
        return len(self.pieces)

    def decode(self, ids: Iterable[int]) -> bytes:
        """The exact bytes of token ids, valid UTF-8 or not; ``b""`` for none.

        Raises:
            InputError: an id is outside the vocabulary.
            TypeError: the ids are not one sequence of integers.
        """
        return b"".join(self._piece_array[self._checked(ids)])

    def ends(self, ids: Iterable[int]) -> np.ndarray:
        """Byte offset at which each token ends in ``decode(ids)``: int64 [num tokens], never decreasing.

        A token without bytes, such as a special token, ends where the token before it does.

        Raises:
            InputError: an id is outside the vocabulary.
            TypeError: the ids are not one sequence of integers.
        """
        return np.cumsum(self.lengths[self._checked(ids)])

    def encode(self, data: str | bytes) -> Encoding:
        """The tokenizer's own ids for `data`, and where each token ends in it.

        Valid UTF-8 gets the ids that the tokenizer gives to text in the middle of a conversation: no dummy prefix, no
        special tokens, and the name of a special token is text. Bytes that are not valid UTF-8 are encoded with the
        vocabulary's byte entries, merged as far as its merges go; so is text that its own ids do not cover (deleted
        characters, say). ``decode(encode(data).ids) == data`` unless the tokenizer's own normaliser rewrites the text,
        or bytes have no entry; those are `unencodable_spans`. `ends` point into `data` in every case.

        Args:
            data: text or bytes; a surrogate in a text counts as the three bytes of its code point.

        Returns:
            The encoding; without tokens and spans for empty data.

        Raises:
            TypeError: `data` is neither text nor bytes.
        """
        if not isinstance(data, str | bytes | bytearray | memoryview):
            raise TypeError(f"encode takes text or bytes, not {type(data).__name__}")
        return self._encoder(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data))

    def _checked(self, ids: Iterable[int]) -> np.ndarray:
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
        if array.ndim != 1:
            raise TypeError(f"token ids must be one sequence, not an array of {array.ndim} dimensions")
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"token ids must be integers, not {array.dtype}")
        array = array.astype(np.int64, copy=False)
        if array.size and array.view(np.uint64).max() >= len(self.pieces):  # a negative id is a large one there
            bad = array[(array < 0) | (array >= len(self.pieces))][0]
            raise InputError(
                f"token id {bad} is outside the vocabulary of {len(self.pieces)} ids; pass `size` = the model's "
                "vocabulary size to from_tokenizer if the model's vocabulary is padded."
            )
        return array

    def _verify(self) -> None:
        """Encode known texts with the tokenizer and compare the bytes of the ids with those of the text."""
        for text in [*PROBE_TEXTS, *_readable_pieces(self.pieces)]:
            data = text.encode("utf-8")
            if not set(data).isdisjoint(self.unencodable):
                continue  # its own tokenizer drops part of such a text
            ids = self._source.ids(text)
            got = self.decode(ids)
            if got == data or self._matches(ids, self._source.normalise(text)):
                continue
            known = [token_id for token_id in ids if self.pieces[token_id]]
            if not self._source.entries.keeps_spaces and self._source.ids(got.decode("utf-8", "replace")) == known:
                continue  # white space is not kept: the bytes of the ids have the same ids
            raise InputError(
                f"this {self.kind} tokenizer does not round-trip: the text {text!r} ({data!r}) is encoded as {ids}, "
                f"whose bytes are {got!r}; its bytes cannot be verified, so it is refused."
            )

    def _matches(self, ids: Sequence[int], normal: bytes) -> bool:
        """Whether the bytes of the ids are the normalised text, with at least one byte for each unknown token."""
        pattern = b"".join(re.escape(self.pieces[token_id]) or b".+" for token_id in ids)
        return re.fullmatch(pattern, normal, re.DOTALL) is not None


@contextmanager
def _without_collector() -> Iterator[None]:
    """Suspend garbage collection: it doubles the time of creating very many small objects that are all kept."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _readable_pieces(pieces: Sequence[bytes]) -> list[str]:
    """An even sample of the entries that are valid text."""
    step = max(1, len(pieces) // _NUM_PIECE_PROBES)
    texts = []
    for piece in pieces[::step]:
        try:
            texts.append(piece.decode("utf-8"))
        except UnicodeDecodeError:
            continue  # part of a character: a tokenizer takes text only
    return texts
