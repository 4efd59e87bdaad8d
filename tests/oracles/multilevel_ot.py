"""The slow obvious twin of the multilevel_ot loss: the paper's equations 10 to 21, one entry at a time."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Parts(NamedTuple):
    """HAD, SL and SD."""

    absolute: Tensor
    logarithmic: Tensor
    sequence: Tensor


def ranked(probs: Tensor, ranks: int) -> Tensor:
    """[c, V] -> [c, k]: the same entries at every position, those of the largest sums first."""
    sums = [probs[:, entry].sum().item() for entry in range(probs.shape[1])]
    order = sorted(range(len(sums)), key=lambda entry: -sums[entry])[:ranks]
    return torch.stack([probs[:, entry] for entry in order], 1)


def softened(values: Tensor, temperature: float) -> Tensor:
    powers = values ** (1 / temperature)
    return powers / powers.sum()


def sinkhorn(cost: Tensor, entropy: float, iterations: int) -> Tensor:
    plan = torch.exp(-cost / entropy)
    for _ in range(iterations):
        plan = plan / plan.sum(1, keepdim=True)
        plan = plan / plan.sum(0, keepdim=True)
    return (plan * cost).sum()


def parts(s: Tensor, t: Tensor, tau: float = 2.0, entropy: float = 0.1, iterations: int = 20) -> Parts:
    """The parts of the loss, from ranked probabilities [c, k] of both sides at the same positions."""
    positions, ranks = range(s.shape[0]), range(s.shape[1])
    absolute = sum((t[c, i] - s[c, i]).abs() for c in positions for i in ranks)
    logarithmic = -sum(t[c, i] * torch.log(s[c, i]) for c in positions for i in ranks)
    cost = torch.stack(
        [torch.stack([(softened(t[c], tau) - softened(s[d], tau)).abs().sum() for d in positions]) for c in positions]
    )
    return Parts(absolute, logarithmic, sinkhorn(cost, entropy, iterations))


def loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    responses: Sequence[Sequence[tuple[int, int]]],
    *,
    ranks: int = 50,
    windows: Sequence[Sequence[tuple[int, int]]] | None = None,
    log_weight: float = 0.1,
    sequence_weight: float = 0.1,
    temperature: float = 1.0,
    sinkhorn_temperature: float = 2.0,
    sinkhorn_entropy: float = 0.1,
    iterations: int = 20,
    floor: float = 0.0,
) -> Tensor:
    """The sum over responses.

    Args:
        student_logits: [N_S, V_S].
        teacher_logits: [N_T, V_T].
        responses: for each response, the rows of both sides at which its chunks start.
        ranks: entries that each side keeps.
        windows: for each response, the (first, end) chunks of its windows; None for one window.
        log_weight: weight of SL.
        sequence_weight: weight of SD.
        temperature: divides the logits.
        sinkhorn_temperature: tau_SD.
        sinkhorn_entropy: lambda.
        iterations: N.
        floor: the least probability; smaller ones count as this one.
    """
    ranks = min(ranks, student_logits.shape[1], teacher_logits.shape[1])
    total = student_logits.new_zeros(())
    for number, starts in enumerate(responses):
        if not starts:
            continue
        s = ranked(torch.softmax(student_logits[[i for i, _ in starts]] / temperature, -1), ranks).clamp(min=floor)
        t = ranked(torch.softmax(teacher_logits[[j for _, j in starts]] / temperature, -1), ranks).clamp(min=floor)
        for first, stop in windows[number] if windows else [(0, len(starts))]:
            each = parts(s[first:stop], t[first:stop], sinkhorn_temperature, sinkhorn_entropy, iterations)
            total = total + each.absolute + log_weight * each.logarithmic + sequence_weight * each.sequence
    return total
