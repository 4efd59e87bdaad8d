"""Where the exact expectation of an objective leads a student: gradient descent until it rests."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.causes.exact import Expected, ToyPair
from crossdistill.objectives import Objective


class Rest(NamedTuple):
    """The student at the end of a descent.

    Attributes:
        kl: reverse KL to the teacher over texts, nats.
        highest_kl: the highest on the way.
        bytes: mean length of its texts.
        logits: its table.
    """

    kl: float
    highest_kl: float
    bytes: float
    logits: Tensor


def descend(pair: ToyPair, objective: Objective, logits: Tensor, steps: int = 100, rate: float = 0.1) -> Rest:
    """Descend along the expected gradient from a table, by Adam with a rate that falls to 0 as a cosine.

    The student's samples are those of each step, as on-policy; only the expectation over them is exact. Adam, as in
    training: its steps do not depend on the loss' scale.
    """
    expected = Expected(pair, objective)
    expected.train_heads(logits)
    table = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam(
        [{"params": [table]}, {"params": list(expected.heads.parameters()), "lr": 3e-3}], lr=rate
    )
    highest = float(pair.reverse_kl(logits))
    for step in range(steps):
        table.grad = expected(table).mean
        for group in optimizer.param_groups[:1]:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        highest = max(highest, float(pair.reverse_kl(table.detach())))
    final = table.detach()
    return Rest(float(pair.reverse_kl(final)), highest, mean_bytes(pair, final), final)


def mean_bytes(pair: ToyPair, logits: Tensor) -> float:
    """Mean length of the student's texts."""
    sizes = torch.tensor([len(one.text) for one in pair.spellings], dtype=logits.dtype)
    return float((pair.logprobs(logits).exp() * sizes).sum())
