"""Tokenizers of the ``tokenizers`` library, which every fast Hugging Face tokenizer contains.

Works on the object inside without importing that library: the object's own class builds the edited copy.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.tokens.families import sentencepiece
from crossdistill.tokens.families.byte_level import bytes_to_piece
from crossdistill.tokens.families.family import Family, detect
from crossdistill.tokens.mid_text import mid_text_backend, without_normalizer
from crossdistill.tokens.source import TokenSpans, VocabEntries

_BPE_SETTINGS = ("unk_token", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
_WORDPIECE_SETTINGS = ("unk_token", "continuing_subword_prefix")


class HuggingFaceSource:
    """A ``tokenizers.Tokenizer``.

    Args:
        backend: the tokenizer.
        control: the added tokens that carry no bytes (:func:`crossdistill.tokens.special_tokens.control_tokens`).
        entries: its entries, if they were read before (:mod:`crossdistill.tokens.cache`).

    Raises:
        InputError: the family is not supported, or a required byte has no entry.
    """

    def __init__(self, backend: Any, control: frozenset[str], entries: VocabEntries | None = None):
        self.entries = entries or read_entries(backend, control)
        self._backend = mid_text_backend(backend, outline(backend), control)
        if not self.entries.encodes_any_bytes:
            self._plain = without_normalizer(self._backend)
            without_bytes = (k for k, piece in enumerate(self.entries.pieces) if not piece)
            self._without_bytes = _any_of(filter(None, map(backend.id_to_token, without_bytes)))
        is_sentencepiece = self.entries.kind.startswith("sentencepiece")
        self._text_to_bytes = sentencepiece.text_to_bytes if is_sentencepiece else str.encode

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._backend.encode_special_tokens = True  # pickling loses this setting
        if not self.entries.encodes_any_bytes:
            self._plain.encode_special_tokens = True

    def ids(self, text: str) -> list[int]:
        return self._backend.encode(text, add_special_tokens=False).ids

    def merged(self, data: bytes) -> list[int]:
        if self.entries.kind != "byte_level_bpe":
            return []  # entries of single bytes take no part in merges
        return [token.id for token in self._backend.model.tokenize(bytes_to_piece(data))]

    @cached_property
    def _verbatim(self) -> re.Pattern[str]:
        """Matches the added tokens that are taken out of a text before it is normalised; rarely needed."""
        added = self._backend.get_added_tokens_decoder().values()
        return _any_of(token.content for token in added if not (token.special or token.normalized))

    def segments(self, text: str) -> list[str]:
        return [part for part in self._verbatim.split(text) if part]

    def normalise(self, text: str) -> bytes:
        return self._text_to_bytes(self._normalised(text))

    def token_spans(self, text: str) -> TokenSpans:
        normalised = self._normalised(text)
        sizes = [len(self._text_to_bytes(char)) for char in normalised]
        byte_offsets = np.append(0, np.cumsum(np.array(sizes, dtype=np.int64)))
        # Unigram matches control tokens like </s> among its entries: cut after their first character they stay text
        cuts = [match.start() + 1 for match in self._without_bytes.finditer(normalised)]
        ids, spans = [], []
        for start, end in pairwise([0, *cuts, len(normalised)]):
            encoded = self._plain.encode(normalised[start:end], add_special_tokens=False)
            ids += encoded.ids
            spans += [(start + first, start + last) for first, last in encoded.offsets]  # in characters
        columns = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return TokenSpans(np.array(ids, dtype=np.int64), byte_offsets[columns[:, 0]], byte_offsets[columns[:, 1]])

    def _normalised(self, text: str) -> str:
        normalizer = self._backend.normalizer
        return normalizer.normalize_str(text) if normalizer else text


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, the longest first."""
    return re.compile("(" + ("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)") + ")")


def outline(backend: Any) -> dict[str, Any]:
    """The specification of a tokenizer (``tokenizer.json``) without its entries, which are slow to serialise."""
    shell = type(backend)(type(backend.model)())
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        setattr(shell, part, getattr(backend, part))
    spec: dict[str, Any] = json.loads(shell.to_str())
    for setting in {"BPE": _BPE_SETTINGS, "WordPiece": _WORDPIECE_SETTINGS}.get(spec["model"]["type"], ()):
        spec["model"][setting] = getattr(backend.model, setting)
    return spec


def read_entries(backend: Any, control: frozenset[str]) -> VocabEntries:
    """The bytes of every id of a tokenizer.

    Args:
        backend: the tokenizer.
        control: as for :class:`HuggingFaceSource`.

    Raises:
        InputError: the family is not supported, or a required byte has no entry of its own; the message names it.
    """
    spec = outline(backend)
    if spec["model"]["type"] == "Unigram":  # there is no other way to read its settings
        state = json.loads(backend.model.__getstate__())
        unknown = None if state["unk_id"] is None else state["vocab"][state["unk_id"]][0]
        if unknown is None and not state["byte_fallback"]:
            raise InputError(
                "this Unigram tokenizer has neither an unknown token nor byte fallback, so it fails on characters "
                "without an entry: give it one of them, or use a model with a complete tokenizer."
            )
        spec["model"].update(unk_token=unknown, byte_fallback=state["byte_fallback"])
    family = detect(spec, has_byte_entries=backend.token_to_id("<0x00>") is not None)
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=False)
    pieces = _read_pieces(backend, vocabulary, control, family, spec["model"].get("unk_token"))
    byte_ids = _byte_ids(backend, vocabulary, pieces, family)
    return VocabEntries(family.kind, pieces, byte_ids, family.byte_piece is not None, family.keeps_spaces)


def _read_pieces(
    backend: Any, vocabulary: Mapping[str, int], control: frozenset[str], family: Family, unknown: str | None
) -> list[bytes]:
    added = backend.get_added_tokens_decoder()
    pieces = [b""] * (max(max(vocabulary.values(), default=-1), max(added, default=-1)) + 1)
    for piece, token_id in vocabulary.items():
        if token_id in added or piece == unknown:
            continue
        pieces[token_id] = family.piece_to_bytes(piece)
    for token_id, token in added.items():
        pieces[token_id] = b"" if token.content in control else family.added_to_bytes(token.content)
    return pieces


def _byte_ids(
    backend: Any, vocabulary: Mapping[str, int], pieces: list[bytes], family: Family
) -> tuple[int | None, ...]:
    """The id of each single byte, None if the vocabulary has no entry for it."""
    if family.byte_piece is None:
        return (None,) * 256
    ids: list[int | None] = []
    for byte in range(256):
        piece = family.byte_piece(byte)
        token_id = backend.token_to_id(piece) if piece in vocabulary else None
        is_missing = token_id is None and byte in family.required_bytes
        if is_missing or (token_id is not None and pieces[token_id] != bytes([byte])):
            found = "no entry" if token_id is None else f"an added token {token_id} in place of the entry"
            raise InputError(
                f"this {family.kind} tokenizer has {found} {piece!r} for the byte 0x{byte:02x}, so its bytes cannot be "
                "verified; use a model with a complete tokenizer."
            )
        ids.append(token_id)
    return tuple(ids)
