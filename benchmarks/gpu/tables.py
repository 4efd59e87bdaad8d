"""The figures as tables."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from benchmarks.dense.cell import Size
from benchmarks.gpu.peers import SAME_WORK
from benchmarks.gpu.plan import LOSSES, RATE
from benchmarks.gpu.step import PARTS
from benchmarks.gpu.targets import MET, Verdict

MIB = 2**20


def table_of(part: Mapping[str, Any], rates: Mapping[str, float]) -> Table:
    """Of one part.

    Args:
        part: its figures, as in the merged file.
        rates: FLOP a second of the bare products, by the sizes of both output layers.
    """
    if part["kind"] == RATE:
        return _rates(part)
    return _losses(part, rates) if part["kind"] == LOSSES else _steps(part)


def _rates(part: Mapping[str, Any]) -> Table:
    table = Table("output layers", "tokens", "TFLOP/s of all four", title=part["name"])
    for cell, found in part["cells"].items():
        for height, row in found.get("heights", {}).items():
            table.add_row(cell, str(height), f"{row['rate'] / 1e12:,.3f}")
        if found["status"] != "ok":
            table.add_row(cell, "", _why(found))
    return table


def _losses(part: Mapping[str, Any], rates: Mapping[str, float]) -> Table:
    rate = rates.get(Size.parse(part["size"]).pair)
    table = Table("way", "seconds", "extra MiB", "of the bare rate", "does the work of", title=part["name"])
    for cell, found in part["cells"].items():
        if found["status"] != "ok":
            table.add_row(cell, _why(found))
            continue
        share = f"{found['product_flop'] / found['seconds'] / rate:.0%}" if rate and found["product_flop"] else ""
        memory = f"{found['extra_bytes'] / MIB:,.0f}"
        table.add_row(cell, f"{found['seconds']:.4f}", memory, share, SAME_WORK.get(cell, ""))
    return table


def _steps(part: Mapping[str, Any]) -> Table:
    table = Table("sampled by", "part", "seconds", "of the step", title=part["name"])
    for cell, found in part["cells"].items():
        if found["status"] != "ok":
            table.add_row(cell, _why(found))
            continue
        whole = found["step_seconds"]
        table.add_row(cell, f"a step; peak {found['peak_bytes'] / MIB:,.0f} MiB", f"{whole:.3f}")
        for name in PARTS:
            table.add_row("", name, f"{found['parts'][name]:.3f}", f"{found['parts'][name] / whole:.1%}")
    return table


def _why(found: Mapping[str, Any]) -> str:
    return found["status"] + (f": {found['reason']}" if "reason" in found else "")


def missed_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """What misses its target, or is not shown to meet it.

    Example:
        >>> missed_lines([Verdict("losses", "alm", "of the bare rate: at least 0.6", 0.294, "missed")])
        ['missed: losses, alm: 0.294 of the bare rate: at least 0.6']
    """
    missed = [one for one in verdicts if one.verdict != MET]
    figures = ["" if one.value is None else f"{one.value:.3g} " for one in missed]
    return [
        f"{one.verdict}: {one.part}, {one.way}: {figure}{one.target}"
        for one, figure in zip(missed, figures, strict=True)
    ]
