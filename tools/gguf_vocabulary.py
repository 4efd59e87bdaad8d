"""The vocabulary of a GGUF file as a `tokenizer.json`. Standard library only.

A GGUF file names its pre-tokenizer but does not contain it, so this module has the steps of each model's own tokenizer;
`make test-matrix` checks the result against the golden token ids that come with the files.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Metadata = dict[str, Any]
TokenizerJson = dict[str, Any]

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # values of `tokenizer.ggml.token_type`
_PADDING = re.compile(r"\[PAD\d+\]")  # names that the conversion to GGUF gives to unused ids
SPACE = "\u2581"


class _Reader:
    """Reads little-endian values in sequence (GGUF versions 2 and 3)."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        return self.take(self.scalar("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner, count = self.scalar("I"), self.scalar("Q")
            return [self.value(inner) for _ in range(count)]
        return self.scalar(_SCALARS[kind])


def read_metadata(path: Path) -> Metadata:
    """The `tokenizer.ggml.*` entries of a GGUF file, without that prefix in their keys.

    Raises:
        ValueError: not a GGUF file.
    """
    reader = _Reader(path.read_bytes())
    if reader.take(4) != b"GGUF":
        raise ValueError(f"{path.name} is not a GGUF file")
    reader.scalar("I"), reader.scalar("Q")  # version, number of tensors
    entries = {}
    for _ in range(reader.scalar("Q")):
        key = reader.string()
        entries[key] = reader.value(reader.scalar("I"))
    prefix = "tokenizer.ggml."
    return {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}


# ---------------------------------------------------------------- the steps of each model's own tokenizer


def _byte_level(use_regex: bool = True) -> TokenizerJson:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _isolate(regex: str) -> TokenizerJson:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _digits(individual: bool) -> TokenizerJson:
    return {"type": "Digits", "individual_digits": individual}


def _sequence(kind: str, steps: Sequence[TokenizerJson]) -> TokenizerJson:
    return {"type": "Sequence", kind: list(steps)}


_PRE_TOKENIZERS: dict[str, list[TokenizerJson]] = {
    "gpt-2": [_byte_level()],
    "mpt": [_byte_level()],
    "starcoder": [_digits(True), _byte_level()],
    "smollm": [_digits(True), _byte_level()],
    "command-r": [_digits(True), _byte_level()],
    "falcon": [
        {"type": "Punctuation", "behavior": "Contiguous"},
        _byte_level(),
        _digits(False),
        _isolate("[0-9][0-9][0-9]"),
    ],
    "deepseek-coder": [
        _isolate("[\r\n]"),
        _isolate(r"\s?\p{L}+"),
        _isolate(r"\s?\p{P}+"),
        _isolate("[一-龥ࠀ-一가-퟿]+"),
        _digits(True),
        _byte_level(use_regex=False),
    ],
}
_COMPOSING = ("mpt", "command-r")  # pre-tokenizers of tokenizers that normalise to NFC first


def to_tokenizer_json(path: Path) -> TokenizerJson:
    """The content of `tokenizer.json` for the vocabulary of a GGUF file.

    Raises:
        ValueError: a kind of vocabulary that this module does not know.
    """
    metadata = read_metadata(path)
    builders = {"gpt2": _byte_level_bpe, "llama": _sentencepiece_bpe, "t5": _unigram, "bert": _word_piece}
    if metadata["model"] not in builders:
        raise ValueError(f"{path.name} holds a vocabulary of the kind {metadata['model']!r}, which is not supported")
    parts = builders[metadata["model"]](metadata)
    empty = {"truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None, "post_processor": None}
    return {"version": "1.0", **empty, "added_tokens": _added_tokens(metadata), **parts}


def _entries(metadata: Metadata) -> list[tuple[int, str, int]]:
    """(id, entry, token type) of all ids that the tokenizer itself has."""
    columns = zip(metadata["tokens"], metadata["token_type"], strict=True)
    return [(index, *column) for index, column in enumerate(columns) if not _PADDING.fullmatch(column[0])]


def _added_tokens(metadata: Metadata) -> list[TokenizerJson]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return [
        {"id": index, "content": content, **flags, "special": kind == _CONTROL}
        for index, content, kind in _entries(metadata)
        if kind in (_CONTROL, _USER_DEFINED)
    ]


def _bpe(vocabulary: dict[str, int], merges: Iterable[Sequence[str]], **settings: Any) -> TokenizerJson:
    return {"type": "BPE", "vocab": vocabulary, "merges": [list(merge) for merge in merges], **settings}


def _byte_level_bpe(metadata: Metadata) -> TokenizerJson:
    entries = _entries(metadata)
    size = 1 + max(index for index, _, kind in entries if kind == _NORMAL)  # later ids are added tokens
    vocabulary = {entry: index for index, entry, _ in entries if index < size}
    merges = [merge.split(" ") for merge in metadata["merges"]]
    known = [pair for pair in merges if len(pair) == 2 and {*pair, "".join(pair)} <= vocabulary.keys()]
    return {
        "normalizer": {"type": "NFC"} if metadata["pre"] in _COMPOSING else None,
        "pre_tokenizer": _sequence("pretokenizers", _PRE_TOKENIZERS[metadata["pre"]]),
        "decoder": _byte_level(),
        "model": _bpe(vocabulary, known, byte_fallback=False, fuse_unk=False, unk_token=None),
    }


def _sentencepiece_bpe(metadata: Metadata) -> TokenizerJson:
    """BPE with a dummy prefix, byte fallback and a Strip decoder; the merges are derived from the scores."""
    entries = _entries(metadata)
    vocabulary = {entry: index for index, entry, _ in entries}
    scores = {entry: metadata["scores"][index] for index, entry, kind in entries if kind == _NORMAL}
    normalizers = [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ]
    decoders = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    settings = {"byte_fallback": True, "fuse_unk": True, "unk_token": metadata["tokens"][metadata["unknown_token_id"]]}
    return {
        "normalizer": _sequence("normalizers", normalizers),
        "decoder": _sequence("decoders", decoders),
        "model": _bpe(vocabulary, merges_by_score(scores), **settings),
    }


def merges_by_score(scores: dict[str, float]) -> list[tuple[str, str]]:
    """All pairs of entries that join into a third entry, from the best score of the third to the worst."""
    merges = [
        (entry[:cut], entry[cut:])
        for entry in scores
        for cut in range(1, len(entry))
        if entry[:cut] in scores and entry[cut:] in scores
    ]
    return sorted(merges, key=lambda merge: scores["".join(merge)], reverse=True)


def _unigram(metadata: Metadata) -> TokenizerJson:
    """SentencePiece Unigram without byte fallback, in the form in which XLM-RoBERTa was published."""
    charsmap = base64.b64encode(bytes(value & 0xFF for value in metadata["precompiled_charsmap"])).decode("ascii")
    meta_space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    rows = [
        [entry, metadata["scores"][index]]
        for index, (entry, kind) in enumerate(zip(metadata["tokens"], metadata["token_type"], strict=True))
        if not _PADDING.fullmatch(entry) and (kind != _CONTROL or index < metadata["unknown_token_id"])
    ]
    return {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": _sequence("pretokenizers", [{"type": "WhitespaceSplit"}, meta_space]),
        "decoder": meta_space,
        "model": {"type": "Unigram", "unk_id": metadata["unknown_token_id"], "vocab": rows, "byte_fallback": False},
    }


def _word_piece(metadata: Metadata) -> TokenizerJson:
    def piece(entry: str, kind: int) -> str:
        if kind == _CONTROL or re.fullmatch(r"\[unused\d+\]", entry):
            return entry
        return entry.removeprefix(SPACE) if entry.startswith(SPACE) else "##" + entry

    vocabulary = {piece(entry, kind): index for index, entry, kind in _entries(metadata)}
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
