"""The slow obvious twin of the uld loss: one position and one rank at a time, over whole matrices of logits."""

from collections.abc import Sequence

import torch
from torch import Tensor


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """L1 between the sorted entries of two vectors, the shorter one filled up with zeros."""
    ours = sorted(student.unbind(), key=Tensor.item, reverse=True)
    theirs = sorted(teacher.unbind(), key=Tensor.item, reverse=True)
    total = student.new_zeros(())
    for rank in range(max(len(ours), len(theirs))):
        s = ours[rank] if rank < len(ours) else 0.0
        t = theirs[rank] if rank < len(theirs) else 0.0
        total = total + abs(s - t)
    return total


def loss(
    student_logits: Tensor, teacher_logits: Tensor, starts: Sequence[tuple[int, int]], temperature: float = 1.0
) -> Tensor:
    """The sum over chunks: logits [N_S, V_S] and [N_T, V_T], and the rows of each side at which a chunk starts."""
    total = student_logits.new_zeros(())
    for i, j in starts:
        p = torch.softmax(student_logits[i] / temperature, 0)
        total = total + distance(p, torch.softmax(teacher_logits[j] / temperature, 0))
    return total
