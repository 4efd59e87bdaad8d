"""The family of a tokenizer, read off its own specification, and the bytes of its entries.

A family is a strategy for turning vocabulary entries into bytes. Nothing here knows the name of a model.
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

    kind: its name, as :attr:`crossdistill.ByteVocab.kind` tells it.
    piece_to_bytes: vocabulary entry -> its bytes.
    added_to_bytes: text of an added token -> its bytes.
    text_to_bytes: normalised text -> the bytes that its tokens spell.
    byte_piece: byte value -> the spelling of the entry that stands for that single byte; None in a family whose entries
        are characters, which cannot spell any bytes.
    required_bytes: the bytes without whose entries a vocabulary of this family is refused. With byte fallback all: a
        missing one makes characters unreadable that have nothing to do with it. In a byte-level vocabulary those of
        plain text; control bytes and those that UTF-8 never uses are missing in some, and cost themselves alone.
    keeps_spaces: whether its tokens spell the white space between words.
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

    Here added tokens are spelled like the others: Gemma's runs of spaces are runs of U+2581.
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
    """Entries are parts of words; those that go on a word begin with `prefix` (BERT's ``##``)."""
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
    """The family of a tokenizer from its outline (:func:`crossdistill.tokens.backends.huggingface.outline`).

    Args:
        has_byte_entries: whether it has an entry ``<0x00>``.

    Raises InputError where the specification fits none of the families that can be verified.
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
        f"this tokenizer's model is {model['type']!r} with the steps {', '.join(sorted(types)) or 'none'}, which is no "
        "family whose bytes can be verified (byte-level BPE, SentencePiece BPE or Unigram, WordPiece); use a model "
        "with one of these."
    )


def _replaces_space(step: dict[str, Any]) -> bool:
    return step["type"] == "Replace" and sentencepiece.SPACE in (step.get("content"), step["pattern"].get("String"))
