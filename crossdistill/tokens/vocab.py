"""A vocabulary as bytes: what each token id stands for, and how any bytes are spelled in it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.tokens.backend import mid_text_backend, spec_of
from crossdistill.tokens.byte_level import bytes_to_piece
from crossdistill.tokens.encoding import Encoding
from crossdistill.tokens.family import BYTE_LEVEL, Family, detect
from crossdistill.tokens.normalisation import ends_in_original
from crossdistill.tokens.sentencepiece import SPACE

# bytes that are not valid UTF-8 come out of the "surrogateescape" decoding as these code points
_INVALID_RUN = re.compile("([\udc80-\udcff]+)")
# scripts, white space and signs whose bytes the families treat differently
_PROBES = (
    "Hello, world! 3 + 4 = 7",
    "  two  spaces\n\n\ttab\r\n",
    "naïve café ≥ 2√2 ∑xᵢ",
    "你好，世界。結果は42です",
    "Привет мир שלום مرحبا",
    "🤗👩‍🚀 e\u0301",
    "\x00\x01\x7f",
)
_NUM_PIECE_PROBES = 512


class ByteVocab:
    """The bytes of every token id of one tokenizer, verified by a round trip.

    Attributes:
        kind: family of the tokenizer, ``"byte_level_bpe"`` or ``"sentencepiece_bpe"``.
        pieces: bytes of each id. Special tokens, control tokens and holes in the id range carry no bytes (``b""``).
        lengths: int64 [size], length of each piece in bytes.
    """

    def __init__(self, pieces: Sequence[bytes], family: Family, backend: Any):
        self.kind = family.name
        self.pieces = tuple(pieces)
        self.lengths = np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(self.pieces))
        self._backend = backend
        self._byte_ids = _single_byte_ids(family, backend)
        self._piece_array = np.array(self.pieces, dtype=object)

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, size: int | None = None) -> "ByteVocab":
        """Read and verify the vocabulary of a fast Hugging Face tokenizer (or a ``tokenizers.Tokenizer``).

        Args:
            size: number of ids that the model can emit, where its vocabulary is padded beyond its tokenizer; the
                ids in between carry no bytes.

        Raises:
            InputError: the family is not supported, an entry's bytes cannot be verified, or `size` is smaller
                than the tokenizer.
        """
        backend, spec = spec_of(tokenizer)
        family = detect(spec)
        pieces = _read_pieces(spec, family)
        if size is not None:
            if size < len(pieces):
                raise InputError(
                    f"the model has {size} token ids but its tokenizer uses ids up to {len(pieces) - 1}: the two do "
                    "not belong together; use the tokenizer that the model was trained with."
                )
            pieces += [b""] * (size - len(pieces))
        vocab = cls(pieces, family, mid_text_backend(backend, spec))
        vocab._verify()
        return vocab

    def __len__(self) -> int:
        return len(self.pieces)

    def decode(self, ids: Iterable[int]) -> bytes:
        """The exact bytes of token ids; never re-tokenised, valid UTF-8 or not."""
        return b"".join(self._piece_array[self._checked(ids)])

    def ends(self, ids: Iterable[int]) -> np.ndarray:
        """Byte offset at which each token ends in ``decode(ids)``: int64 [num tokens], never decreasing.

        A token without bytes (special tokens) ends where the token before it does.
        """
        return np.cumsum(self.lengths[self._checked(ids)])

    def encode(self, data: str | bytes) -> Encoding:
        """The tokenizer's own ids for `data`, and where each token ends in it.

        Valid UTF-8 gets the ids that the tokenizer gives to text in mid-conversation (no dummy prefix, no special
        tokens, text that spells a special token stays text). Bytes that are not valid UTF-8 are spelled by the
        vocabulary's byte entries, merged as far as its merges go. ``decode(encode(data).ids) == data`` unless the
        tokenizer's own normaliser rewrites the text; `ends` point into `data` in either case.
        """
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        runs = _INVALID_RUN.split(raw.decode("utf-8", "surrogateescape"))
        encodings: list[Encoding] = []
        for index, run in enumerate(runs):  # valid and invalid runs alternate, the first is valid (or empty)
            if run:
                encodings.append(self._encode_text(run) if index % 2 == 0 else self._encode_invalid(run))
        return _concatenate(encodings)

    def _encode_text(self, text: str) -> Encoding:
        encoded = self._backend.encode(text, add_special_tokens=False)
        ids = np.array(encoded.ids, dtype=np.int64)
        data = text.encode("utf-8")
        if self.decode(ids) == data:
            return Encoding(ids, self.ends(ids))
        return Encoding(ids, ends_in_original(text, self._normalise, self.ends(ids)))

    def _normalise(self, text: str) -> bytes:
        """The bytes that the tokens of `text` spell, where the normaliser rewrites it."""
        if self._backend.normalizer is None:
            return text.encode("utf-8")
        return self._backend.normalizer.normalize_str(text).replace(SPACE, " ").encode("utf-8")

    def _encode_invalid(self, run: str) -> Encoding:
        data = run.encode("utf-8", "surrogateescape")
        if self.kind == BYTE_LEVEL:
            ids = [token.id for token in self._backend.model.tokenize(bytes_to_piece(data))]
        else:
            ids = [self._byte_ids[byte] for byte in data]
        return Encoding(np.array(ids, dtype=np.int64), self.ends(ids))

    def _checked(self, ids: Iterable[int]) -> np.ndarray:
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        if array.size and (array.min() < 0 or array.max() >= len(self.pieces)):
            bad = array[(array < 0) | (array >= len(self.pieces))][0]
            raise InputError(
                f"token id {bad} is outside the vocabulary of {len(self.pieces)} ids; pass `size` = the model's "
                "vocabulary size to from_tokenizer if the model's vocabulary is padded."
            )
        return array

    def _verify(self) -> None:
        """Encode known text with the tokenizer and compare the bytes of the ids with the text's own."""
        texts = [*_PROBES, *_readable_pieces(self.pieces)]
        for text in texts:
            encoded = self._backend.encode(text, add_special_tokens=False)
            expected = self._normalise(text)
            got = self.decode(encoded.ids)
            if got != expected:
                raise InputError(
                    f"this {self.kind} tokenizer does not round-trip: the text {text!r} ({expected!r}) is encoded as "
                    f"{encoded.tokens!r}, whose bytes are {got!r}; its bytes cannot be verified, so it is refused."
                )


def _read_pieces(spec: dict[str, Any], family: Family) -> list[bytes]:
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    added = {token["id"]: token for token in spec["added_tokens"]}
    unknown = spec["model"].get("unk_token")
    size = max(max(vocabulary.values(), default=-1), max(added, default=-1)) + 1
    pieces = [b""] * size
    for piece, token_id in vocabulary.items():
        if token_id in added or piece == unknown:
            continue
        data = family.piece_to_bytes(piece)
        if data is None:
            raise InputError(
                f"token {token_id} is {piece!r}, which is no {family.name} entry: its bytes cannot be verified, so "
                "this tokenizer is refused."
            )
        pieces[token_id] = data
    for token_id, token in added.items():
        pieces[token_id] = b"" if token["special"] else family.added_to_bytes(token["content"])
    return pieces


def _single_byte_ids(family: Family, backend: Any) -> list[int]:
    ids = [backend.token_to_id(family.byte_piece(byte)) for byte in range(256)]
    if None in ids:
        missing = ids.index(None)
        raise InputError(
            f"this {family.name} tokenizer has no entry {family.byte_piece(missing)!r} for the byte 0x{missing:02x}, so "
            "it cannot spell every response; use a tokenizer with all 256 byte entries."
        )
    return ids


def _readable_pieces(pieces: Sequence[bytes]) -> list[str]:
    """An even sample of the entries that are text on their own."""
    step = max(1, len(pieces) // _NUM_PIECE_PROBES)
    texts = []
    for piece in pieces[::step]:
        try:
            texts.append(piece.decode("utf-8"))
        except UnicodeDecodeError:
            continue  # part of a character: only text can be given to a tokenizer
    return texts


def _concatenate(encodings: list[Encoding]) -> Encoding:
    if not encodings:
        return Encoding(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    ends, offset = [], 0
    for encoding in encodings:
        ends.append(encoding.ends + offset)
        offset = int(ends[-1][-1])
    return Encoding(np.concatenate([encoding.ids for encoding in encodings]), np.concatenate(ends))
