"""Which family a tokenizer belongs to, read off its own specification, and the bytes of its entries.

A family is a strategy for turning vocabulary entries into bytes. Nothing here knows the name of a model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens import byte_level, sentencepiece

BYTE_LEVEL = "byte_level_bpe"
SENTENCEPIECE = "sentencepiece_bpe"


@dataclass(frozen=True)
class Family:
    """A tokenizer family.

    name: ``"byte_level_bpe"`` or ``"sentencepiece_bpe"``.
    piece_to_bytes: vocabulary entry -> its bytes, or None where the entry does not fit the family.
    added_to_bytes: text of an added token -> its bytes.
    text_to_bytes: normalised text -> the bytes that its tokens spell.
    byte_piece: byte value -> the spelling of the entry that stands for that single byte.
    required_bytes: the bytes without whose entries a vocabulary of this family is refused. With byte fallback all: a
        missing one makes characters unreadable that have nothing to do with it. In a byte-level vocabulary those of
        plain text; control bytes and those that UTF-8 never uses are missing in some, and cost themselves alone.
    """

    name: str
    piece_to_bytes: Callable[[str], bytes | None]
    added_to_bytes: Callable[[str], bytes]
    text_to_bytes: Callable[[str], bytes]
    byte_piece: Callable[[int], str]
    required_bytes: bytes


_FAMILIES = {
    BYTE_LEVEL: Family(
        name=BYTE_LEVEL,
        piece_to_bytes=byte_level.piece_to_bytes,
        added_to_bytes=byte_level.text_to_bytes,
        text_to_bytes=byte_level.text_to_bytes,
        byte_piece=byte_level.byte_piece,
        required_bytes=bytes([0x0A, *range(0x20, 0x7F)]),
    ),
    # here added tokens are spelled like the others: Gemma's runs of spaces are runs of U+2581
    SENTENCEPIECE: Family(
        name=SENTENCEPIECE,
        piece_to_bytes=sentencepiece.piece_to_bytes,
        added_to_bytes=sentencepiece.piece_to_bytes,
        text_to_bytes=sentencepiece.text_to_bytes,
        byte_piece=sentencepiece.byte_piece,
        required_bytes=bytes(range(256)),
    ),
}


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


def detect(spec: dict[str, Any]) -> Family:
    """The family of a tokenizer from its JSON specification (the content of ``tokenizer.json``).

    Raises InputError where the specification fits none of the families that this version verifies.
    """
    model = spec["model"]
    decoder_types = {step["type"] for step in steps(spec.get("decoder"))}
    pieces = model.get("vocab", {})
    if model.get("type") != "BPE" or not isinstance(pieces, dict):
        raise InputError(
            f"this tokenizer's model is {model.get('type')!r}, whose bytes cannot be verified: only byte-level BPE "
            "and SentencePiece-style BPE with byte fallback are supported; use a model with one of these."
        )
    if "ByteLevel" in decoder_types:
        return _FAMILIES[BYTE_LEVEL]
    if "<0x00>" in pieces and ("ByteFallback" in decoder_types or model.get("byte_fallback")):
        return _FAMILIES[SENTENCEPIECE]
    raise InputError(
        "this BPE tokenizer has neither a byte-level decoder nor byte fallback, so the bytes of its tokens cannot be "
        "verified; use a model with a byte-level or byte-fallback tokenizer."
    )
