"""The targets, and what the figures say of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, Size
from benchmarks.dense.compare import TARGET_MEMORY, TARGET_RATE_GPU, TARGET_TIME_GPU, memory_of, seconds_of
from benchmarks.gpu.peers import SAME_WORK, SAMPLED
from benchmarks.gpu.plan import LOSSES, RATE, STEP
from benchmarks.objectives import TOLERANCE
from benchmarks.steps.stopwatch import REST

TARGET_REST = 0.02
"""The most that everything but the models, sampling and the optimizer may take of a step."""
GOLD = GOLD_PLAIN, GOLD_HYBRID
OTHERS = {*GOLD, *SAME_WORK}
"""The code of others, which has no target."""
WITH_TIES = ("gold", "uld", "multilevel_ot")
"""They sort: among entries whose logits bfloat16 makes equal, the gradient may go to any, and is not compared."""
MET, MISSED, NOT_SHOWN = "met", "missed", "not shown"
Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """A figure beside its target.

    Attributes:
        part: where it was measured.
        way: what was measured.
        target: in words.
        value: the figure; None if there is none.
        verdict: MET, MISSED, or NOT_SHOWN if there is a bound alone, or nothing, to judge by.
    """

    part: str
    way: str
    target: str
    value: float | None
    verdict: str


def verdicts(parts: Parts, dtype: str) -> list[Verdict]:
    """Of all cells that were tried: the content of ``parts`` in the merged file. What has no figures meets nothing."""
    rates = {cell: found["rate"] for part in _of(parts, RATE) for cell, found in _measured(part)}
    found = without_figures(parts)
    for part in _of(parts, LOSSES):
        if FLOOR in part["cells"]:
            found += _of_losses(part, rates, dtype)
    for part in _of(parts, STEP):
        found += [_of_step(part["name"], cell, step["share_of_rest"]) for cell, step in _measured(part)]
    return found


def without_figures(parts: Parts) -> list[Verdict]:
    """The cells that failed, took too long or were skipped; those of others are no target of ours."""
    return [
        Verdict(part["name"], cell, f"no figures: {found.get('reason', found['status'])}", None, _absent(found))
        for part in parts.values()
        for cell, found in part["cells"].items()
        if found["status"] != "ok" and cell not in OTHERS
    ]


def _absent(found: Mapping[str, Any]) -> str:
    return NOT_SHOWN if found["status"] == "skipped" else MISSED


def _of_step(part: str, cell: str, share: float) -> Verdict:
    verdict = MET if share <= TARGET_REST else MISSED
    return Verdict(part, cell, f"of a step is the {REST}: at most {TARGET_REST:g}", share, verdict)


def _of(parts: Parts, kind: str) -> Iterable[Mapping[str, Any]]:
    return [part for part in parts.values() if part["kind"] == kind]


def _measured(part: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return [(cell, found) for cell, found in part["cells"].items() if found["status"] == "ok"]


def _of_losses(part: Mapping[str, Any], rates: Mapping[str, float], dtype: str) -> Iterator[Verdict]:
    size, cells = Size.parse(part["size"]), part["cells"]
    for way, result in _measured(part):
        if way in (FLOOR, *OTHERS):
            continue
        if (flop := result["product_flop"]) and size.pair in rates:
            share = flop / result["seconds"] / rates[size.pair]
            yield _judged(part["name"], way, "of the bare rate", share, TARGET_RATE_GPU, True)
        else:
            yield _not_shown(part["name"], way, "of the bare rate")
        if way != SAMPLED:
            yield from _beside_gold(part["name"], way, result, cells, size, dtype)
        if not agrees(way, result.get("agreement"), dtype):
            yield Verdict(part["name"], way, f"differs from the naive form: {result['agreement']}", None, MISSED)


def _beside_gold(
    part: str, way: str, result: Mapping[str, Any], cells: Parts, size: Size, dtype: str
) -> Iterator[Verdict]:
    """Against the faster and the smaller of GOLD's two forms."""
    golds = [cells[name] for name in GOLD if name in cells and cells[name]["status"] not in ("failed", "running")]
    times = [seconds for gold in golds if (seconds := seconds_of(gold)) is not None]
    if times:
        least = min(times, key=lambda one: float(one["seconds"]))
        ratio = least["seconds"] / result["seconds"]
        yield _judged(part, way, "times faster than GOLD", ratio, TARGET_TIME_GPU, least["is"] == "measured")
    else:
        yield _not_shown(part, way, "times faster than GOLD")
    memories = [memory_of(GOLD_PLAIN, gold, size, dtype) for gold in golds]
    if memories:
        smallest = min(memories, key=lambda one: float(one["bytes"]))
        ratio = smallest["bytes"] / max(1, result["extra_bytes"])
        yield _judged(part, way, "times less memory than GOLD", ratio, TARGET_MEMORY, smallest["is"] == "measured")
    else:
        yield _not_shown(part, way, "times less memory than GOLD")


def _not_shown(part: str, way: str, what: str) -> Verdict:
    return Verdict(part, way, f"{what}: nothing to compare with", None, NOT_SHOWN)


def _judged(part: str, way: str, what: str, value: float, least: float, is_exact: bool) -> Verdict:
    bad = MISSED if is_exact else NOT_SHOWN  # a lower bound below the target shows nothing
    bound = "" if is_exact else ", a lower bound"
    return Verdict(part, way, f"{what}{bound}: at least {least:g}", value, MET if value >= least else bad)


def agrees(way: str, agreement: Mapping[str, float] | None, dtype: str) -> bool:
    """Whether a way computes what it should, as far as that was looked at.

    Example:
        >>> agrees("uld", {"value": 1e-6, "gradient": 0.1}, "bfloat16")
        True
        >>> agrees("simct", {"value": 1e-6, "gradient": 0.1}, "bfloat16")
        False
    """
    compared = {} if agreement is None else {**agreement}
    if way in WITH_TIES:
        compared.pop("gradient", None)
    return all(difference <= TOLERANCE[dtype] for difference in compared.values())
