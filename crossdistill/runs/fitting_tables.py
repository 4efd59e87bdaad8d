"""Tables of what fits where, as rows of text."""

from collections.abc import Sequence

from crossdistill.runs.fitting import GIB, Devices, Way

_NAMES = ("trained", "engine")
PARTS = {
    "weights": "student: weights",
    "gradients": "student: gradients",
    "optimizer": "student: optimizer",
    "activations": "activations",
    "logits": "tiles of logits",
    "teacher": "teacher: weights",
}
"""Title of a column -> part of a name in the estimate."""
PEAKS = ("peak", "teacher served", "and vLLM here")
LENGTH_COLUMNS = (
    *("teacher here, recomputed", "teacher here, kept"),
    *("teacher served, recomputed", "teacher served, kept"),
)
UNKNOWN = "unknown"


def memory_table(found: Sequence[Way], devices: Devices) -> list[list[str]]:
    """GiB on each GPU by part, with a row of titles; a peak that does not fit is in brackets."""
    rows = [[*_NAMES, *PEAKS, *PARTS]]
    for way in found:
        parts = [_gib(way.of(name)) for name in PARTS.values()]
        if not way.longest:
            parts[list(PARTS).index("activations")] = UNKNOWN
        peaks = [_judged(size, devices) for size in (way.peak, way.served, way.with_vllm)]
        rows.append([*_names(way), *peaks, *parts])
    return rows


def split(table: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Two tables of 80 columns for `memory_table`: the peaks, and what the first one is made of."""
    names = len(_NAMES)
    end = names + len(PEAKS)
    return [list(row[:end]) for row in table], [[*row[:names], *row[end:]] for row in table]


def length_table(found: Sequence[Way]) -> list[list[str]]:
    """Tokens of the longest response that fits, with a row of titles."""
    keys = [(is_served, is_recomputed) for is_served in (False, True) for is_recomputed in (True, False)]
    rows = [[*_NAMES, *LENGTH_COLUMNS]]
    for way in found:
        rows.append([*_names(way), *(_length(way, key) for key in keys)])
    return rows


def _names(way: Way) -> tuple[str, str]:
    return "LoRA" if way.is_lora else "all weights", way.engine.value


def _length(way: Way, key: tuple[bool, bool]) -> str:
    if not way.longest:
        return UNKNOWN
    tokens = way.longest[key]
    return "none" if tokens is None else f"{tokens:,}"


def _judged(size: float, devices: Devices) -> str:
    return _gib(size) if size <= devices.room else f"({_gib(size)})"


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f}"
