"""Cases of tests.objectives.cases as the whole matrices that oracles over shared candidates read."""

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from crossdistill.objectives.shared.shared_entries import candidates
from crossdistill.ops import LMHead, tiled_sum
from tests.objectives.cases import Case
from tests.oracles.candidates import Names, shared_names


def names(case: Case) -> tuple[Names, Names]:
    pair = case.parts[0].pair
    return shared_names(pair.student.pieces, pair.teacher.pieces, pair.student_stops, pair.teacher_stops)


def probs(case: Case, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Of all responses one after the other, [tokens, V] of each side; the student's differentiable in its leaves."""
    parts = [part.teacher.dense for part in case.parts]
    teacher = torch.cat([part.head.logits(part.hidden) for part in parts])
    student = case.head.logits(torch.cat(case.hidden))
    return (student / temperature).softmax(-1), (teacher / temperature).softmax(-1)


def spans(case: Case) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(first, end) of every chunk on each side."""
    alignment = case.batch().alignment
    sides = alignment.student_splits.tolist(), alignment.teacher_splits.tolist()
    return tuple(list(pairwise(splits)) for splits in sides)


def trained(case: Case) -> list[Tensor]:
    """The student's leaves: hidden states, weight and bias of the head."""
    case.head = LMHead(
        case.head.weight.detach().requires_grad_(),
        case.head.bias.detach().requires_grad_(),
        case.head.scale,
        case.head.softcap,
    )
    return [*case.hidden, case.head.weight, case.head.bias]


def assert_equal(ours: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    """Value and gradient in float64."""
    found = torch.autograd.grad(3 * ours, leaves, materialize_grads=True, allow_unused=True)
    right = torch.autograd.grad(3 * expected, leaves, materialize_grads=True, allow_unused=True)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    for gradient, reference in zip(found, right, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-8, atol=1e-9)


def tiles_of(monkeypatch: Any, elements: int) -> None:
    """Compute in tiles of so many logits."""
    monkeypatch.setattr(candidates, "tiled_sum", partial(tiled_sum, tile_elements=elements))
