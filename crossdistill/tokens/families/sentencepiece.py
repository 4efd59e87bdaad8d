"""Vocabulary entries of SentencePiece-style BPE and Unigram, with or without byte fallback."""

import re

SPACE = "\u2581"  # replaces a space in vocabulary entries
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_token_value(piece: str) -> int | None:
    """The byte of a fallback entry such as ``<0x0A>``, None for any other entry."""
    match = _BYTE_TOKEN.fullmatch(piece)
    return int(match.group(1), 16) if match else None


def piece_to_bytes(piece: str) -> bytes:
    """Bytes of a vocabulary entry: a fallback byte, or its text with U+2581 read as a space."""
    value = byte_token_value(piece)
    return text_to_bytes(piece) if value is None else bytes([value])


def byte_piece(byte: int) -> str:
    """The fallback entry of a single byte."""
    return f"<0x{byte:02X}>"


def text_to_bytes(text: str) -> bytes:
    """Bytes of the tokens of `text`: a literal U+2581 cannot be distinguished from a space."""
    return text.replace(SPACE, " ").encode("utf-8")
