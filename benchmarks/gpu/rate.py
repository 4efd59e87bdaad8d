"""The bare rate: FLOP a second of the products with both output layers, with nothing between, at several heights."""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.dense.cell import Setting, Size
from benchmarks.dense.measure import timed

LEAST_SECONDS = 0.05
"""A sample repeats a product for about so long: a clock is read twice, and a GPU's pauses even out."""
SAMPLES = 3
Product = Callable[[], Tensor]


def bare_rate(size: Size, setting: Setting, heights: tuple[int, ...]) -> dict[str, Any]:
    """Seconds of each product at each height, in tokens, and the best rate of all four together.

    The products are those of a dense objective: the logits of both models, and the gradients of the student's states
    and of its output weight. On a GPU the time is the device's own, between two CUDA events.
    """
    rows = {}
    for height in heights:
        seconds = {name: seconds_of(call, setting.device) for name, call in products(size, setting, height).items()}
        rows[height] = {"seconds": seconds, "rate": flop(size, height) / sum(seconds.values())}
    return {"heights": rows, "rate": max(row["rate"] for row in rows.values())}


def flop(size: Size, height: int) -> int:
    """Of the four products."""
    ours, theirs = size.student_vocab * size.student_hidden, size.teacher_vocab * size.teacher_hidden
    return 2 * height * (3 * ours + theirs)


def products(size: Size, setting: Setting, height: int) -> dict[str, Product]:
    """Name -> one product into memory that it keeps. The numbers are random: zeros would need less power."""
    generator = torch.Generator(setting.device).manual_seed(setting.seed)
    dtype = getattr(torch, setting.dtype)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=setting.device, dtype=dtype)

    hidden, weight = random(height, size.student_hidden), random(size.student_vocab, size.student_hidden)
    theirs, their_weight = random(height, size.teacher_hidden), random(size.teacher_vocab, size.teacher_hidden)
    logits, their_logits = hidden @ weight.T, theirs @ their_weight.T
    grad_hidden, grad_weight = torch.empty_like(hidden), torch.empty_like(weight)
    return {
        "student logits": lambda: torch.mm(hidden, weight.T, out=logits),
        "teacher logits": lambda: torch.mm(theirs, their_weight.T, out=their_logits),
        "gradient of states": lambda: torch.mm(logits, weight, out=grad_hidden),
        "gradient of weight": lambda: torch.mm(logits.T, hidden, out=grad_weight),
    }


def seconds_of(call: Product, device: str) -> float:
    """Of one call: the median of a few samples, each of many calls."""
    call()
    calls = max(1, round(LEAST_SECONDS / max(1e-9, timed(call, device)[0])))
    sample = _on_gpu if device != "cpu" else _on_cpu
    return median(sample(call, calls) for _ in range(SAMPLES))


def _on_cpu(call: Product, calls: int) -> float:
    return timed(lambda: [call() for _ in range(calls)], "cpu")[0] / calls


def _on_gpu(call: Product, calls: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000 / calls  # it counts milliseconds
