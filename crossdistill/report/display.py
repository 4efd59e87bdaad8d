"""Bytes and strange characters as text that can be read, and that cannot do anything to a terminal or a page."""

import unicodedata

# these would vanish on paper; every other character that does not print is shown as its bytes
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_DOTTED_CIRCLE = "◌"


def display(data: bytes) -> str:
    r"""A readable form of any bytes.

    Valid UTF-8 is shown as text, with spaces as ``␣``, newlines as ``⏎`` and tabs as ``⇥``. Bytes that are no text,
    and characters that do not print (controls, zero-width and direction marks), are shown as ``\xNN``. A combining
    mark at the start stands on a dotted circle. The form is for reading: a real backslash is not doubled.

    >>> display("né\n".encode())
    'né⏎'
    >>> display("€".encode()[:2])
    '\\xe2\\x82'
    """
    text = data.decode("utf-8", "surrogateescape")
    shown = "".join(_VISIBLE.get(char) or _printable(char) for char in text)
    starts_with_mark = text != "" and unicodedata.category(text[0]).startswith("M") and text[0].isprintable()
    return _DOTTED_CIRCLE + shown if starts_with_mark else shown


def plain(text: str) -> str:
    r"""`text` as it is, line breaks and tabs too; other characters that do not print are shown as ``\xNN``."""
    return "".join(char if char in "\n\t" else _printable(char) for char in text)


def whole_characters(data: bytes, start: int, end: int) -> str | None:
    """The characters that bytes ``[start, end)`` of `data` are part of, for display.

    None where these bytes are text by themselves, and where the bytes around them do not make them text that prints.
    """
    if _is_text(data[start:end]):
        return None
    first, last = start, end
    while first > 0 and _is_continuation(data[first]):
        first -= 1
    while last < len(data) and _is_continuation(data[last]):
        last += 1
    around = data[first:last]
    return display(around) if _is_text(around) and around.decode("utf-8").isprintable() else None


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    # these surrogates stand for bytes that are no text; others come from text that holds half of a UTF-16 pair
    errors = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", errors))


def _is_continuation(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
