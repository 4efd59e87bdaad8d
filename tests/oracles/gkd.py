"""The slow obvious twin of the gkd loss: the generalised Jensen-Shannon divergence, one entry at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor


def kl(p: Tensor, q: Tensor) -> Tensor:
    """sum p log(p / q) - p + q: the divergence of two vectors that need not sum to 1; if p is 0, a term is q."""
    total = p.new_zeros(())
    for a, b in zip(p, q, strict=True):
        total = total - a + b
        if a > 0:
            total = total + a * torch.log(a / b)
    return total


def jsd(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """JSD_beta of probabilities [V]."""
    if beta == 0:
        return kl(teacher, student)
    if beta == 1:
        return kl(student, teacher)
    mixture = beta * teacher + (1 - beta) * student
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)


def loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    starts: Sequence[tuple[int, int]],
    beta: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    """The sum over chunks: logits [N_S, V] and [N_T, V], and the rows of each side at which a chunk starts."""
    total = student_logits.new_zeros(())
    for i, j in starts:
        p = torch.softmax(student_logits[i] / temperature, 0)
        total = total + jsd(p, torch.softmax(teacher_logits[j] / temperature, 0), beta)
    return total
