"""Vocabulary entries of WordPiece (BERT), which leave out the white space around words."""

import unicodedata

# scripts that BERT's tokenizer splits into single characters: such an entry implies no space before it
_IDEOGRAPHS = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def piece_to_bytes(piece: str, prefix: str) -> bytes:
    """Bytes of an entry: a continuation as it is, the start of a word with a space before it.

    WordPiece keeps no white space, so the space is this library's choice. Punctuation and ideographs are always split
    off, so they get none: ``3.14`` becomes `` 3. 14``, which has the same tokens.
    """
    if piece.startswith(prefix) and piece != prefix:
        return piece.removeprefix(prefix).encode("utf-8")
    return (piece if _stands_alone(piece) else " " + piece).encode("utf-8")


def _stands_alone(piece: str) -> bool:
    return len(piece) == 1 and (_is_punctuation(piece) or any(low <= ord(piece) <= high for low, high in _IDEOGRAPHS))


def _is_punctuation(char: str) -> bool:
    is_ascii_sign = char.isascii() and char.isprintable() and not char.isalnum() and not char.isspace()
    return is_ascii_sign or unicodedata.category(char).startswith("P")
