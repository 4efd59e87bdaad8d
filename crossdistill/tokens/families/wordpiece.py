"""Vocabulary entries of WordPiece (BERT): words without the white space around them."""

import unicodedata

# scripts that BERT's tokenizer cuts into single characters, so that such an entry says nothing of a space before it
_IDEOGRAPHS = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def piece_to_bytes(piece: str, prefix: str) -> bytes:
    """Bytes of an entry: what goes on a word as it stands, a word with a space in front of it.

    Punctuation and ideographs are cut apart wherever they stand, so they are read without one: ``3.14`` comes out as
    `` 3. 14``, which is read alike. White space is not kept by this family, and this reading of it is the library's.
    """
    if piece.startswith(prefix) and piece != prefix:
        return piece.removeprefix(prefix).encode("utf-8")
    return (piece if _stands_alone(piece) else " " + piece).encode("utf-8")


def _stands_alone(piece: str) -> bool:
    return len(piece) == 1 and (_is_punctuation(piece) or any(low <= ord(piece) <= high for low, high in _IDEOGRAPHS))


def _is_punctuation(char: str) -> bool:
    is_ascii_sign = char.isascii() and char.isprintable() and not char.isalnum() and not char.isspace()
    return is_ascii_sign or unicodedata.category(char).startswith("P")
