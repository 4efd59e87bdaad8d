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

# bytes that are not valid UTF-8 come out of this way of decoding as these code points
_ESCAPE = "surrogateescape"
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
        unencodable: the byte values that no entry spells, ascending. Empty for most tokenizers; some byte-level ones
            lack control bytes (SmolLM2's has 21 holes), and silently drop them from what they are given.
    """

    def __init__(self, pieces: Sequence[bytes], family: Family, backend: Any):
        self.kind = family.name
        self.pieces = tuple(pieces)
        self.lengths = np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(self.pieces))
        self._family = family
        self._backend = backend
        self._byte_ids = _single_byte_ids(self.pieces, family, backend)
        self.unencodable = bytes(byte for byte, token_id in enumerate(self._byte_ids) if token_id is None)
        self._hole = re.compile(b"[" + re.escape(self.unencodable) + b"]+") if self.unencodable else None
        self._piece_array = np.array(self.pieces, dtype=object)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._backend.encode_special_tokens = True  # a pickled tokenizer forgets it

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
        vocabulary's byte entries, merged as far as its merges go; so is text whose own ids would not account for all
        of it (deleted characters, say). ``decode(encode(data).ids) == data`` unless the tokenizer's own normaliser
        rewrites the text, or it has no entry for a byte: such bytes belong to no token (`holes`). `ends` point into
        `data` in every case.
        """
        if not isinstance(data, str | bytes | bytearray | memoryview):
            raise TypeError(f"encode takes a text or bytes, not {type(data).__name__}")
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        holes, encodings, start = self._holes(raw), [], 0
        for hole_start, hole_end in [*holes.tolist(), (len(raw), len(raw))]:
            ids, ends, _ = self._encode_spellable(raw[start:hole_start])
            encodings.append((ids, ends + start))
            start = hole_end
        all_ids, all_ends = (np.concatenate(parts) for parts in zip(*encodings, strict=True))
        return Encoding(all_ids, all_ends, holes)

    def _holes(self, data: bytes) -> np.ndarray:
        """The runs of bytes in `data` that no token of this vocabulary spells: int64 [num runs, 2], (start, end)."""
        spans = [match.span() for match in self._hole.finditer(data)] if self._hole else []
        return np.array(spans, dtype=np.int64).reshape(-1, 2)

    def _encode_spellable(self, raw: bytes) -> Encoding:
        runs = _INVALID_RUN.split(raw.decode("utf-8", _ESCAPE))
        encodings: list[Encoding] = []
        for index, run in enumerate(runs):  # valid and invalid runs alternate, the first is valid (or empty)
            if run:
                is_text = index % 2 == 0
                encodings.append(self._encode_text(run) if is_text else self._spell(run.encode("utf-8", _ESCAPE)))
        return _concatenate(encodings)

    def _encode_text(self, text: str) -> Encoding:
        ids = np.array(self._backend.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        data, spelled = text.encode("utf-8"), self.decode(ids)
        if spelled == data:
            return Encoding(ids, self.ends(ids))
        if spelled and spelled == self._normalise(text):
            return Encoding(ids, ends_in_original(text, self._normalise, self.ends(ids)))
        return self._spell(data)  # a byte that no token stands for would get no signal

    def _normalise(self, text: str) -> bytes:
        """The bytes that the tokens of `text` spell, where the normaliser rewrites it."""
        normalizer = self._backend.normalizer
        return self._family.text_to_bytes(normalizer.normalize_str(text) if normalizer else text)

    def _spell(self, data: bytes) -> Encoding:
        """Any bytes as byte entries of the vocabulary, merged as far as its merges go."""
        if self.kind == BYTE_LEVEL:
            merged = [token.id for token in self._backend.model.tokenize(bytes_to_piece(data))]
            if self.decode(merged) == data:
                return Encoding(self._checked(merged), self.ends(merged))
        ids = self._checked(token_id for token_id in (self._byte_ids[byte] for byte in data) if token_id is not None)
        return Encoding(ids, self.ends(ids))

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
            if len(self._holes(text.encode("utf-8"))):
                continue  # its own tokenizer does not read such text whole
            encoded = self._backend.encode(text, add_special_tokens=False)
            data, got = text.encode("utf-8"), self.decode(encoded.ids)
            if got not in (data, self._normalise(text)):
                raise InputError(
                    f"this {self.kind} tokenizer does not round-trip: the text {text!r} ({data!r}) is encoded as "
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


def _single_byte_ids(pieces: Sequence[bytes], family: Family, backend: Any) -> list[int | None]:
    """The id of each single byte, None where the vocabulary has no entry for it."""
    ids: list[int | None] = []
    for byte in range(256):
        piece = family.byte_piece(byte)
        token_id = backend.token_to_id(piece)
        is_lacking = token_id is None and byte in family.required_bytes
        if is_lacking or (token_id is not None and pieces[token_id] != bytes([byte])):
            found = "no entry" if token_id is None else f"an added token {token_id} in place of the entry"
            raise InputError(
                f"this {family.name} tokenizer has {found} {piece!r} for the byte 0x{byte:02x}, so its bytes cannot be "
                "verified; use a model whose tokenizer is whole."
            )
        ids.append(token_id)
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
