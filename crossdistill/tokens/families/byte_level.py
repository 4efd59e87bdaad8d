"""The byte <-> printable character table of byte-level BPE (GPT-2, section 2.2)."""


def _byte_to_char() -> dict[int, str]:
    """Printable Latin-1 bytes map to themselves, the others to code points from 256 upwards, in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    table = {byte: chr(byte) for byte in printable}
    spare = 0x100
    for byte in range(256):
        if byte not in printable:
            table[byte] = chr(spare)
            spare += 1
    return table


BYTE_TO_CHAR: dict[int, str] = _byte_to_char()
CHAR_TO_BYTE: dict[str, int] = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def piece_to_bytes(piece: str) -> bytes:
    """Bytes of a byte-level vocabulary entry.

    An entry with a character outside the table has the bytes of its own text: the decoder treats it so, and the
    tokenizer never produces it (Command-R has 800 of them).
    """
    values = [CHAR_TO_BYTE.get(char) for char in piece]
    return piece.encode("utf-8") if None in values else bytes(values)  # type: ignore[arg-type]


def bytes_to_piece(data: bytes) -> str:
    """Any bytes in the characters of a byte-level vocabulary; the inverse of :func:`piece_to_bytes`."""
    return "".join(BYTE_TO_CHAR[byte] for byte in data)


def byte_piece(byte: int) -> str:
    """The entry of a single byte."""
    return BYTE_TO_CHAR[byte]


def text_to_bytes(text: str) -> bytes:
    """Bytes of the tokens of `text`: its own."""
    return text.encode("utf-8")
