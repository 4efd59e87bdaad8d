"""The family of a tokenizer, detected from its own specification, and the bytes of its entries.

A family is a strategy for turning vocabulary entries into bytes. No model is known by name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens.families import byte_level, sentencepiece, wordpiece

_PLAIN_TEXT = bytes([0x0A, *range(0x20, 0x7F)])
_ALL_BYTES = bytes(range(256))


@dataclass(frozen=True)
class Family:
    """A tokenizer family.

    Attributes:
        kind: its name (:attr:`crossdistill.ByteVocab.kind`).
        piece_to_bytes: vocabulary entry -> its bytes.
        added_to_bytes: text of an added token -> its bytes.
        text_to_bytes: normalised text -> the bytes of its tokens.
        byte_piece: byte value -> the entry of that single byte. None if the entries are characters, which cannot
            encode arbitrary bytes.
        required_bytes: bytes that must have an entry, or the vocabulary is refused. With byte fallback these are all
            bytes: a missing one makes unrelated characters unreadable. In a byte-level vocabulary they are the bytes
            of plain text: some lack control bytes or bytes that UTF-8 never uses, and lose nothing else by it.
        keeps_spaces: whether its tokens contain the white space between words.
    """

    kind: str
    piece_to_bytes: Callable[[str], bytes]
    added_to_bytes: Callable[[str], bytes]
    text_to_bytes: Callable[[str], bytes]
    byte_piece: Callable[[int], str] | None = None
    required_bytes: bytes = b""
    keeps_spaces: bool = True


def byte_level_family(kind: str = "byte_level_bpe") -> Family:
    """Entries are bytes, each written as one printable character (GPT-2)."""
    return Family(
        kind=kind,
        piece_to_bytes=byte_level.piece_to_bytes,
        added_to_bytes=byte_level.text_to_bytes,
        text_to_bytes=byte_level.text_to_bytes,
        byte_piece=byte_level.byte_piece,
        required_bytes=_PLAIN_TEXT,
    )


def sentencepiece_family(kind: str, has_byte_entries: bool) -> Family:
    """Entries are text with U+2581 for a space; with byte fallback, ``<0x0A>`` is a byte.

    Added tokens are written like other entries: Gemma's runs of spaces are runs of U+2581.
    """
    to_bytes = sentencepiece.piece_to_bytes if has_byte_entries else sentencepiece.text_to_bytes
    return Family(
        kind=kind,
        piece_to_bytes=to_bytes,
        added_to_bytes=to_bytes,
        text_to_bytes=sentencepiece.text_to_bytes,
        byte_piece=sentencepiece.byte_piece if has_byte_entries else None,
        required_bytes=_ALL_BYTES if has_byte_entries else b"",
    )


def wordpiece_family(prefix: str) -> Family:
    """Entries are parts of words; those that continue a word begin with `prefix` (BERT's ``##``)."""
    return Family(
        kind="wordpiece",
        piece_to_bytes=lambda piece: wordpiece.piece_to_bytes(piece, prefix),
        added_to_bytes=byte_level.text_to_bytes,
        text_to_bytes=byte_level.text_to_bytes,
        keeps_spaces=False,
    )


def steps(component: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The single steps of a normalizer, pre-tokenizer or decoder, with nested sequences flattened."""
    if component is None:
        return
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in component:
            for step in component[key]:
                yield from steps(step)
            return
    yield component


def detect(spec: dict[str, Any], has_byte_entries: bool) -> Family:
    """The family of a tokenizer.

    Args:
        spec: its specification (:func:`crossdistill.tokens.backends.huggingface.outline`).
        has_byte_entries: whether it has an entry ``<0x00>``.

    Raises:
        InputError: the specification fits no supported family.
    """
    model = spec["model"]
    all_steps = [step for part in ("normalizer", "pre_tokenizer", "decoder") for step in steps(spec[part])]
    types = {step["type"] for step in all_steps}
    if model["type"] == "WordPiece":
        return wordpiece_family(model["continuing_subword_prefix"])
    falls_back = has_byte_entries and ("ByteFallback" in types or bool(model.get("byte_fallback")))
    if model["type"] == "Unigram" and "ByteLevel" not in types:
        return sentencepiece_family("sentencepiece_unigram", falls_back)
    if model["type"] == "BPE" and not model.get("end_of_word_suffix") and not model.get("continuing_subword_prefix"):
        if any(step["type"] == "ByteLevel" for step in steps(spec["decoder"])):
            return byte_level_family()
        if falls_back or "Metaspace" in types or any(_replaces_space(step) for step in all_steps):
            return sentencepiece_family("sentencepiece_bpe", falls_back)
    raise InputError(
        f"this tokenizer's model is {model['type']!r} with the steps {', '.join(sorted(types)) or 'none'}, which is "
        "not a family whose bytes can be verified (byte-level BPE, SentencePiece BPE or Unigram, WordPiece); use a "
        "model with one of these."
    )


def _replaces_space(step: dict[str, Any]) -> bool:
    return step["type"] == "Replace" and sentencepiece.SPACE in (step.get("content"), step["pattern"].get("String"))
