"""The tile over shared candidates: the gradient written by hand against autograd, and rows at the edge."""

import math

import pytest
import torch

from crossdistill.objectives.shared.divergence import FLOOR_NATS, Divergence
from crossdistill.objectives.shared.shared_entries.candidates import SharedHead, by_autograd, reverse_by_hand
from crossdistill.objectives.shared.vocab_pair import Groups
from crossdistill.ops import LMHead

OURS = Groups.of([[4], [0, 6, 7], [2], [5], [1, 3]])
THEIRS = Groups.of([[8], [2], [1, 3], [0], [5, 6]])
REVERSE = Divergence("reverse")


def heads() -> tuple[SharedHead, SharedHead]:
    make = torch.Generator().manual_seed(0)
    weights = [torch.randn(size, 3, generator=make, dtype=torch.float64) for size in (8, 9)]
    return tuple(SharedHead.of(LMHead(w), groups) for w, groups in zip(weights, (OURS, THEIRS), strict=True))


def rows(with_units: bool, seed: int = 1, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    make = torch.Generator().manual_seed(seed)
    sizes = [(6, 8), (6, 7), *([(6,), (6,)] if with_units else [])]
    found = [3 * torch.randn(*size, generator=make, dtype=torch.float64).to(dtype) for size in sizes]
    for unit in found[2:]:
        unit[[1, 4]] = -math.inf
    return found


def value_and_gradients(make, given: list[torch.Tensor]):
    leaves = [tensor.clone().requires_grad_() for tensor in given[::2]]  # the student's
    loss = make(REVERSE, *heads())(leaves[0], given[1].clone(), *(leaves[1:] + given[3:]))
    weights = torch.arange(1, len(loss) + 1, dtype=loss.dtype)
    return loss.detach(), torch.autograd.grad((weights * loss).sum(), leaves)


def assert_same(given: list[torch.Tensor], **tolerance: float) -> torch.Tensor:
    """By hand as by autograd; the loss."""
    ours, reference = (value_and_gradients(make, given) for make in (reverse_by_hand, by_autograd))
    torch.testing.assert_close(ours, reference, **tolerance)
    assert ours[0].isfinite().all()
    assert all(gradient.isfinite().all() for gradient in ours[1])
    return ours[0]


def test_the_cut_head_gives_the_logits_of_the_candidates():
    make = torch.Generator().manual_seed(2)
    head = LMHead(torch.randn(8, 3, generator=make), torch.randn(8, generator=make), 0.5, 4.0)
    hidden = torch.randn(4, 3, generator=make)
    cut = SharedHead.of(head, OURS)
    assert cut.head.vocab_size == 8
    log_probs = head.logits(hidden).log_softmax(-1)
    torch.testing.assert_close(cut.candidates(cut.head.logits(hidden).log_softmax(-1)), OURS.select(log_probs))


@pytest.mark.parametrize("with_units", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_by_hand_equals_autograd(with_units, seed):
    assert_same(rows(with_units, seed), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("with_units", [False, True])
def test_in_float32(with_units):
    assert_same(rows(with_units, dtype=torch.float32), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_units", [False, True])
def test_logits_far_apart(with_units):
    assert_same([300 * tensor for tensor in rows(with_units)], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_units", [False, True])
def test_a_teacher_that_masks_candidates(with_units):
    given = rows(with_units)
    given[1][:, [0, 3]] = -math.inf  # some, among them both ids of none
    given[1][2] = -math.inf  # all
    if with_units:
        given[3][[0, 2]] = -math.inf  # and the unit, alone and with all others
    loss = assert_same(given, rtol=1e-9, atol=1e-9)
    assert -FLOOR_NATS - 5 < loss[2] < -FLOOR_NATS  # 100 nats less the student's own entropy
    assert loss.max() == loss[2]


@pytest.mark.parametrize("with_units", [False, True])
def test_a_broken_teacher_is_not_hidden(with_units):
    given = rows(with_units)
    given[1][3, 1] = math.nan
    assert value_and_gradients(reverse_by_hand, given)[0].isnan().tolist() == [k == 3 for k in range(6)]
