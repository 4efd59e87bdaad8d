"""Numbers as the report writes them. Each takes what a run file may hold, also nothing at all."""

import math
from typing import Any

MISSING = "–"
_MINUS = "\N{MINUS SIGN}"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
# bounds of the tints of an advantage, in nats
TINTS = (0.05, 0.5, 1.0, 2.0)


def nats(value: Any) -> str:
    """Two decimals: a log-probability."""
    return _fixed(value, 2)


def signed(value: Any, digits: int = 2) -> str:
    """With its sign: an advantage or a difference."""
    text = _fixed(value, digits)
    is_positive = _is_number(value) and value > 0 and text.strip("0.") != ""
    return f"+{text}" if is_positive else text


def score(value: Any) -> str:
    """Three decimals: a metric."""
    return _fixed(value, 3)


def count(value: Any) -> str:
    """A whole number in groups of three."""
    return f"{value:,.0f}" if _is_number(value) else MISSING


def percent(value: Any) -> str:
    """One decimal; a share that is neither none nor all never reads 0 % or 100 %."""
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
    """CSS class of an advantage: its sign and size, ``"up2"`` or ``"down4"``; empty where it is about zero."""
    if not _is_number(value):
        return ""
    size = sum(abs(value) >= bound for bound in TINTS)
    return f"{'up' if value > 0 else 'down'}{size}" if size else ""


def _fixed(value: Any, digits: int) -> str:
    if not _is_number(value):
        return MISSING
    text = f"{abs(value):.{digits}f}"
    is_zero = text.strip("0.") == ""
    return f"{_MINUS}{text}" if value < 0 and not is_zero else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
