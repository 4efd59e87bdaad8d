"""Whole matrices of logits of a random case, for oracles, and what two losses of it are compared by."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from crossdistill.objectives import AlignedBatch, VocabPair
from crossdistill.ops import LMHead
from tests.objectives.cases import Case

CLOSE = {"rtol": 1e-9, "atol": 1e-10}


class Whole(NamedTuple):
    """logits: [N_S, V_S] and [N_T, V_T]. ids: of both. chunks: the rows of both. responses: the chunks of each."""

    student: Tensor
    teacher: Tensor
    student_ids: list[int]
    teacher_ids: list[int]
    chunks: list[tuple[range, range]]
    responses: list[list[tuple[int, int]]]
    pair: VocabPair

    @property
    def starts(self) -> list[tuple[int, int]]:
        return [(ours[0], theirs[0]) for ours, theirs in self.chunks]


def chunks_of(batch: AlignedBatch) -> list[tuple[range, range]]:
    splits = batch.alignment.student_splits.tolist(), batch.alignment.teacher_splits.tolist()
    ours, theirs = ([range(*ends) for ends in pairwise(ends)] for ends in splits)
    return list(zip(ours, theirs, strict=True))


def whole(case: Case) -> Whole:
    inputs = case.inputs()
    batch, states = inputs.batch, inputs.student
    teacher = batch.teacher.dense
    chunks = chunks_of(batch)
    starts = [(ours[0], theirs[0]) for ours, theirs in chunks]
    ends = batch.response_splits.tolist()
    return Whole(
        states.head.logits(states.hidden),
        teacher.head.logits(teacher.hidden),
        batch.student.ids.tolist(),
        batch.teacher.ids.tolist(),
        chunks,
        [starts[first:stop] for first, stop in pairwise(ends)],
        batch.pair,
    )


def assert_equals_oracle(case: Case, oracle: Callable[[Whole], Tensor]) -> None:
    """The same value, and the same gradient at every state of the student."""
    expected, found = oracle(whole(case)), case.loss()
    assert found.abs() > 1e-6
    torch.testing.assert_close(found, expected, **CLOSE)
    leaves: Sequence[Tensor] = case.hidden
    expected_slopes = torch.autograd.grad(expected, leaves, allow_unused=True, materialize_grads=True)
    found_slopes = torch.autograd.grad(found, leaves, allow_unused=True, materialize_grads=True)
    for ours, theirs in zip(found_slopes, expected_slopes, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def masked(case: Case, ids: Sequence[int]) -> Case:
    """The same where the teacher gives some ids no probability at all."""

    def bias(head: LMHead) -> Tensor:
        return head.bias.index_fill(0, torch.tensor(ids), -torch.inf)

    return _with_heads(case, lambda head: head, lambda head: LMHead(head.weight, bias(head), head.scale))


def magnified(case: Case, factor: float) -> Case:
    """The same with much larger logits."""

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
