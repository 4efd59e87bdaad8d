"""Values as a reader sees them: bytes, numbers and the names of models.

The functions for numbers take anything that a run file may hold: what is not a finite number reads ``–``.
"""

import math
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

MISSING = "–"
TINTS = (0.05, 0.5, 1.0, 2.0)
"""Lower bounds, in nats, of the sizes by which advantages are tinted."""

_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}  # invisible in print; other characters that do not print read as bytes
_PARTS = re.compile(r".+?(?:[/_.:=,␣⏎⇥-]+(?=[^\d])|$)", re.DOTALL)
_DOTTED_CIRCLE = "◌"
_MINUS = "\N{MINUS SIGN}"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def display(data: bytes) -> str:
    r"""A readable form of any bytes.

    Valid UTF-8 is shown as text, with spaces as ``␣``, newlines as ``⏎`` and tabs as ``⇥``. Bytes that are not UTF-8,
    and characters that do not print (controls, zero-width and direction marks), are shown as ``\xNN``. A combining
    mark at the start is placed on a dotted circle. The form is for reading: a real backslash is not doubled.

    Example:
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
    r"""`text` with its line breaks and tabs; other characters that do not print are shown as ``\xNN``."""
    return "".join(char if char in "\n\t" else _printable(char) for char in text)


def whole_characters(data: bytes, start: int, end: int) -> str | None:
    """The characters that bytes ``[start, end)`` of `data` belong to, for display.

    None if these bytes are text by themselves, or if the bytes around them do not complete them to text that prints.
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


def model_name(model: str) -> str:
    """A hub id or a URL unchanged; the last part of a local folder's path.

    Example:
        >>> model_name("org/model"), model_name("/models/student"), model_name("models/small/student")
        ('org/model', 'student', 'student')
    """
    is_nested = model.count("/") > 1 and "://" not in model
    is_folder = Path(model).is_absolute() or model.startswith(".") or is_nested
    return Path(model).name if is_folder else model


def breakable(text: Any) -> "Markup":
    """`text` for a page: a line may break after signs that join words, and not before a percent sign.

    Example:
        >>> breakable("org/a_model")
        Markup('org/<wbr>a_<wbr>model')
    """
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in _PARTS.findall(str(text).replace(" %", "\xa0%")))


def nats(value: Any) -> str:
    """A log-probability: two decimals."""
    return _fixed(value, 2)


def signed(value: Any, digits: int = 2) -> str:
    """An advantage or a difference, with its sign."""
    text = _fixed(value, digits)
    is_positive = _is_number(value) and value > 0 and text.strip("0.") != ""
    return f"+{text}" if is_positive else text


def score(value: Any) -> str:
    """A metric: three decimals."""
    return _fixed(value, 3)


def brief(value: Any) -> str:
    """Three digits, or all of a whole part that has more.

    Example:
        >>> brief(0.038512), brief(-12345.6), brief(None)
        ('0.0385', '−12,346', '–')
    """
    if not _is_number(value):
        return MISSING
    text = f"{abs(value):,.0f}" if abs(value) >= 100 else f"{abs(value):.3g}"
    return f"{_MINUS}{text}" if value < 0 else text


def count(value: Any) -> str:
    """A whole number in groups of three digits."""
    return f"{value:,.0f}" if _is_number(value) else MISSING


def percent(value: Any) -> str:
    """A share: one decimal, and never 0 % or 100 % by rounding alone.

    Example:
        >>> percent(0.5), percent(0.0), percent(0.99999)
        ('50.0 %', '0.0 %', '> 99.9 %')
    """
    if not _is_number(value):
        return MISSING
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.1f} %"


def si(value: Any) -> str:
    """Three digits and a metric prefix: 3.42 P."""
    if not _is_number(value):
        return MISSING
    power = 0
    while abs(value) >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_PREFIXES[power]}".strip()


def duration(seconds: Any) -> str:
    """Hours, minutes and seconds."""
    if not _is_number(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def tint(value: Any) -> str:
    """CSS class of an advantage by its sign and size, ``"up2"`` or ``"down4"``; empty if it is about zero."""
    if not _is_number(value):
        return ""
    size = sum(abs(value) >= bound for bound in TINTS)
    return f"{'up' if value > 0 else 'down'}{size}" if size else ""


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    # surrogateescape maps bytes that are not UTF-8 to these surrogates; others are halves of UTF-16 pairs in the text
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


def _fixed(value: Any, digits: int) -> str:
    if not _is_number(value):
        return MISSING
    text = f"{abs(value):.{digits}f}"
    is_zero = text.strip("0.") == ""
    return f"{_MINUS}{text}" if value < 0 and not is_zero else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
