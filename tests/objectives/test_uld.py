"""The uld loss against its definition."""

from functools import partial
from itertools import permutations

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import uld
from crossdistill.objectives.shared.rank_distance import rank_distance
from crossdistill.objectives.uld import ULD
from tests.objectives.cases import case
from tests.objectives.matrices import CLOSE, assert_equals_oracle, assert_survives, magnified, masked
from tests.oracles import uld as oracle


def probs(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_value_and_gradient_equal_the_definition(seed, temperature):
    assert_equals_oracle(
        case(ULD(temperature=temperature), seed=seed),
        lambda of: oracle.loss(of.student, of.teacher, of.starts, temperature),
    )


def test_tiles_smaller_than_the_batch_give_the_same(monkeypatch):
    monkeypatch.setattr(uld, "tiled_sum", partial(uld.tiled_sum, tile_elements=50))
    assert_equals_oracle(case(ULD()), lambda of: oracle.loss(of.student, of.teacher, of.starts))


def test_a_distance_worked_out_by_hand():
    # ranks: .5 and .6, .3 and .2, .2 and .1, nothing and .1
    assert rank_distance(probs(0.2, 0.5, 0.3), probs(0.1, 0.6, 0.1, 0.2)).item() == pytest.approx(0.4)
    assert rank_distance(probs(0.1, 0.6, 0.1, 0.2), probs(0.2, 0.5, 0.3)).item() == pytest.approx(0.4)


def test_the_slope_of_an_entry_is_the_side_that_its_rank_is_larger_on():
    student = probs(0.2, 0.5, 0.3).requires_grad_()
    rank_distance(student, probs(0.1, 0.6, 0.1, 0.2)).sum().backward()
    assert student.grad.tolist() == [[1.0, -1.0, 1.0]]


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_costs_what_the_other_has(sizes):
    student, teacher = (torch.full((2, size), 0.25, dtype=torch.float64) for size in sizes)
    assert rank_distance(student, teacher).tolist() == [0.25 * max(sizes)] * 2


def test_no_other_matching_of_the_entries_is_cheaper():
    """The definition: the least cost of a one-to-one matching."""
    generator = torch.Generator().manual_seed(0)
    student = torch.softmax(torch.randn(5, generator=generator, dtype=torch.float64), 0)
    teacher = torch.softmax(torch.randn(6, generator=generator, dtype=torch.float64), 0)
    filled = torch.cat([student, torch.zeros(1, dtype=torch.float64)])
    cheapest = min(float((filled[list(order)] - teacher).abs().sum()) for order in permutations(range(6)))
    assert rank_distance(student[None], teacher[None]).item() == pytest.approx(cheapest)


def test_names_do_not_matter():
    """Any teacher that permutes its entries is the same to it: what it teaches is a shape."""
    one = case(ULD(), seed=3)
    before = one.loss().detach()
    for part in one.parts:
        head = part.teacher.dense.head
        order = torch.randperm(head.vocab_size, generator=torch.Generator().manual_seed(1))
        head.weight[:], head.bias[:] = head.weight[order], head.bias[order]
    torch.testing.assert_close(one.loss().detach(), before, **CLOSE)


def test_another_device_sorts_without_numpy():
    """`meta` represents it, which has only shapes."""
    values = torch.rand(3, 7, device="meta", requires_grad=True)
    assert rank_distance(values, torch.rand(3, 5, device="meta")).shape == (3,)


def test_extremes_stay_finite():
    assert_survives(masked(case(ULD()), [0, 2, 5]))
    assert_survives(magnified(case(ULD()), 1e5))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_means_nothing_is_refused(temperature):
    with pytest.raises(InputError, match="temperature must be a finite number > 0"):
        ULD(temperature=temperature)
