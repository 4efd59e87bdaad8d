"""Ratios between the ways of one size, and the growth of memory with the tokens, from the results of `measure`."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, NAIVE, Size, least_bytes

Result = Mapping[str, Any]
TARGET_MEMORY, TARGET_TIME_CPU, TARGET_TIME_GPU, TARGET_RATE_GPU = 10, 10, 3, 0.6
"""The goals: GOLD's extra memory and time over ours, and our share of the rate of the bare products."""


def memory_of(way: str, result: Result, size: Size, dtype: str) -> dict[str, Any]:
    """Extra bytes, and whether they are ``measured`` or ``computed``: a lower bound of what the way must hold."""
    if result["status"] == "ok":
        return {"bytes": result["extra_bytes"], "is": "measured"}
    return {"bytes": least_bytes(way, size, dtype), "is": "computed, at least"}


def seconds_of(result: Result) -> dict[str, Any] | None:
    """Seconds, and whether they are ``measured`` or a time-out: ``at least``. None if nothing ran."""
    if result["status"] == "ok":
        return {"seconds": result["seconds"], "is": "measured"}
    if result["status"] == "time-out":
        return {"seconds": result["seconds_at_least"], "is": "at least"}
    return None


def busy_seconds(result: Result) -> float:
    """Seconds of the cores on a CPU, which others that are at work there lengthen less than those on the clock."""
    on_cpu = "cores" in result["machine"]["device"]
    return float(min(result["core_seconds_of_each"]) if on_cpu else result["seconds"])


def compared(ways: Mapping[str, Result], size: Size, dtype: str) -> dict[str, dict[str, Any]]:
    """Per objective of ours with figures: the others' time and memory over it, and its share of the floor's rate."""
    ours = {way: result for way, result in ways.items() if _is_ours(way) and result["status"] == "ok"}
    return {way: _compared(way, result, ways, size, dtype) for way, result in ours.items()}


def _is_ours(way: str) -> bool:
    return way not in (FLOOR, GOLD_HYBRID, GOLD_PLAIN) and not way.startswith(NAIVE)


def _compared(way: str, result: Result, ways: Mapping[str, Result], size: Size, dtype: str) -> dict[str, Any]:
    line: dict[str, Any] = {}
    for other in (GOLD_HYBRID, GOLD_PLAIN, NAIVE + way):
        if other not in ways:
            continue
        memory, seconds = memory_of(other, ways[other], size, dtype), seconds_of(ways[other])
        line[other] = {"memory": memory["bytes"] / max(1, result["extra_bytes"]), "memory_is": memory["is"]}
        if seconds is not None:
            line[other] |= {"time": seconds["seconds"] / result["seconds"], "time_is": seconds["is"]}
    floor = ways.get(FLOOR)
    if floor is not None and floor["status"] == "ok":
        own, bare = busy_seconds(result), busy_seconds(floor)
        line["seconds_over_all_products"] = own / bare
        line["share_of_bare_rate"] = (result["product_flop"] / own) / (floor["product_flop"] / bare)
    return line


def growth(sizes: Sequence[Size], results: Sequence[Result], dtype: str) -> dict[str, Any]:
    """The extra memory of one of our objectives at several numbers of tokens, and the addition of a further token.

    A further token adds at least its own state's gradient; a [tokens, vocabulary] matrix would add a row of it.
    """
    lines = [
        {
            "size": str(size),
            "result": dict(result),
            "trl_gold_bytes_computed_at_least": least_bytes(GOLD_HYBRID, size, dtype),
        }
        for size, result in zip(sizes, results, strict=True)
    ]
    for line, result in zip(lines, results, strict=True):
        if result["status"] == "ok":
            line["trl_gold_memory_over_ours_at_least"] = line["trl_gold_bytes_computed_at_least"] / max(
                1, result["extra_bytes"]
            )
    found: dict[str, Any] = {"lines": lines}
    ok = [(size.tokens, result["extra_bytes"]) for size, result in zip(sizes, results, strict=True) if _ok(result)]
    if len(ok) > 1:
        (first, least), (last, most) = min(ok), max(ok)
        found["bytes_a_further_token"] = (most - least) / (last - first)
        found["of_them_the_gradient_of_its_state"] = sizes[0].student_hidden * 4
        found["a_row_of_logits_of_both"] = (sizes[0].student_vocab + sizes[0].teacher_vocab) * 4
    return found


def _ok(result: Result) -> bool:
    return bool(result["status"] == "ok")


def disagreeing(ways: Mapping[str, Result], tolerance: float) -> list[str]:
    """Our objectives that differ from their naive form by more than the tolerance."""
    return [way for way, result in ways.items() if max((result.get("agreement") or {"": 0.0}).values()) > tolerance]
