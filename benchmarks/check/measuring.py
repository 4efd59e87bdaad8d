"""Ratios that hardly depend on what else the machine does: processor time by turns, and memory by counting."""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from torch.distributed._tools.mem_tracker import MemTracker

Call = Callable[[], Any]
ROUNDS = 7
LEAST_SECONDS = 0.02
"""Of a sample, which repeats a short call."""


def time_ratio(ours: Call, reference: Call, rounds: int = ROUNDS) -> float:
    """Processor time of a call over that of another: the median over rounds in which both take turns."""
    calls = [_calls(call) for call in (ours, reference)]
    found = []
    for _ in range(rounds):
        mine, other = (_seconds(call, count) for call, count in zip((ours, reference), calls, strict=True))
        found.append(mine / other)
    return median(found)


def _calls(call: Call) -> int:
    call()  # what is made at the first call does not count
    return max(1, round(LEAST_SECONDS / max(1e-9, _seconds(call, 1))))


def _seconds(call: Call, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - began) / count


def peak_bytes(call: Call) -> int:
    """The most bytes that tensors made by a call held at once; the same in every run.

    Example:
        >>> peak_bytes(lambda: torch.zeros(100) + torch.ones(100))
        1200
    """
    gc.collect()
    tracker = MemTracker()
    with tracker:
        call()
    return sum(kinds["Total"] for kinds in tracker.get_tracker_snapshot("peak").values())
