"""The matrices of a case that oracles read, and the comparison of a loss with its oracle."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossdistill.objectives import VocabPair
from crossdistill.objectives.shared.shared_entries import candidates
from crossdistill.ops import LMHead
from tests.objectives.cases import Case
from tests.oracles.candidates import Names, shared_names

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
Spans = list[tuple[int, int]]
"""(first, end) of the tokens of each chunk, on one side."""


class Matrices(NamedTuple):
    """All responses of a case, one after the other.

    Attributes:
        student: logits, [N_S, V_S], differentiable.
        teacher: logits, [N_T, V_T].
        student_ids: the realised tokens of the student.
        teacher_ids: the realised tokens of the teacher.
        spans: the chunks on each side.
        responses: the rows of both sides at which the chunks of each response start.
        pair: both vocabularies.
    """

    student: Tensor
    teacher: Tensor
    student_ids: list[int]
    teacher_ids: list[int]
    spans: tuple[Spans, Spans]
    responses: list[list[tuple[int, int]]]
    pair: VocabPair

    @property
    def chunks(self) -> list[tuple[range, range]]:
        """The rows of both sides in each chunk."""
        return [(range(*ours), range(*theirs)) for ours, theirs in zip(*self.spans, strict=True)]

    @property
    def starts(self) -> list[tuple[int, int]]:
        """The rows of both sides at which each chunk starts."""
        return [(ours[0], theirs[0]) for ours, theirs in self.chunks]

    @property
    def names(self) -> tuple[Names, Names]:
        """The shared candidates."""
        pair = self.pair
        return shared_names(pair.student.pieces, pair.teacher.pieces, pair.student_stops, pair.teacher_stops)

    def probs(self, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """[N_S, V_S] and [N_T, V_T]."""
        return (self.student / temperature).softmax(-1), (self.teacher / temperature).softmax(-1)


def matrices(case: Case) -> Matrices:
    inputs = case.inputs()
    batch, states, teacher = inputs.batch, inputs.student, [part.teacher.dense for part in case.parts]
    ours, theirs = (list(pairwise(side.tolist())) for side in (batch.student_splits, batch.teacher_splits))
    starts = [(span[0], other[0]) for span, other in zip(ours, theirs, strict=True)]
    return Matrices(
        states.head.logits(states.hidden),
        torch.cat([part.head.logits(part.hidden) for part in teacher]),
        batch.student.ids.tolist(),
        batch.teacher.ids.tolist(),
        (ours, theirs),
        [starts[first:stop] for first, stop in pairwise(batch.response_splits.tolist())],
        batch.pair,
    )


def trained(case: Case) -> list[Tensor]:
    """The student's leaves: hidden states, weight and bias of the head."""
    head = case.head
    weight, bias = head.weight.detach().requires_grad_(), head.bias.detach().requires_grad_()
    case.head = LMHead(weight, bias, head.scale, head.softcap)
    return [*case.hidden, weight, bias]


def assert_equals_oracle(case: Case, oracle: Callable[[Matrices], Tensor]) -> None:
    """The same value, and the same gradient at every state of the student and at its head."""
    leaves = trained(case)
    expected, found = oracle(matrices(case)), case.loss()
    assert found.abs() > 1e-6
    torch.testing.assert_close(found, expected, **CLOSE)
    slopes, expected_slopes = (
        torch.autograd.grad(3 * loss, leaves, allow_unused=True, materialize_grads=True) for loss in (found, expected)
    )
    torch.testing.assert_close(slopes, expected_slopes, **CLOSE)


def masked(case: Case, ids: Sequence[int]) -> Case:
    """A copy in which the teacher gives some ids no probability at all."""

    def mask(head: LMHead) -> LMHead:
        return LMHead(head.weight, head.bias.index_fill(0, torch.tensor(ids), -torch.inf), head.scale)

    return _with_heads(case, lambda head: head, mask)


def magnified(case: Case, factor: float) -> Case:
    """A copy with much larger logits."""

    def larger(head: LMHead) -> LMHead:
        return LMHead(head.weight * factor, head.bias * factor, head.scale)

    return _with_heads(case, larger, larger)


def _with_heads(case: Case, student: Callable[[LMHead], LMHead], teacher: Callable[[LMHead], LMHead]) -> Case:
    head = teacher(case.parts[0].teacher.dense.head)
    parts = [part.with_teacher(states=part.teacher.dense._replace(head=head)) for part in case.parts]
    return Case(parts, case.hidden, student(case.head), case.objective)


def assert_survives(case: Case) -> None:
    """A finite loss with finite gradients."""
    total = case.loss()
    slopes = torch.autograd.grad(total, case.hidden, allow_unused=True, materialize_grads=True)
    assert total.isfinite()
    assert all(slope.isfinite().all() for slope in slopes)


def tiles_of(monkeypatch: Any, elements: int) -> None:
    """Compute divergences over shared candidates in tiles of this many logits."""
    monkeypatch.setattr(candidates, "TILE_ELEMENTS", elements)
