"""The multilevel_ot loss against its definition."""

import math
from functools import partial

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import multilevel_ot
from crossdistill.objectives.multilevel_ot import MultiLevelOT
from crossdistill.objectives.shared.divergence import FLOOR_NATS
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import case, equal_case
from tests.objectives.matrices import Matrices, assert_equals_oracle, assert_survives, magnified, masked, matrices
from tests.oracles import multilevel_ot as oracle


def reference(of: Matrices, **options: object) -> torch.Tensor:
    return oracle.loss(of.student, of.teacher, of.responses, **options)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ranks": 4},
        {"ranks": 1},
        {"log_weight": 0.7, "sequence_weight": 0.0},
        {"temperature": 1.7, "sinkhorn_temperature": 3.0, "sinkhorn_entropy": 0.4, "iterations": 3},
    ],
)
def test_value_and_gradient_equal_the_definition(seed, options):
    assert_equals_oracle(case(MultiLevelOT(**options), seed=seed), partial(reference, **options))


def test_windows_cut_a_response_into_equal_parts():
    one = case(MultiLevelOT(window=3), seed=2)
    sizes = torch.as_tensor(one.batch().response_splits).diff().tolist()
    counts = [math.ceil(size / 3) for size in sizes]
    assert max(counts) > 1
    windows = [
        [(size * k // count, size * (k + 1) // count) for k in range(count)]
        for size, count in zip(sizes, counts, strict=True)
    ]
    assert_equals_oracle(one, partial(reference, windows=windows))


def test_tiles_smaller_than_the_batch_give_the_same(monkeypatch):
    monkeypatch.setattr(multilevel_ot, "TILE_ELEMENTS", 30)
    assert_equals_oracle(case(MultiLevelOT()), reference)


def test_one_position_worked_out_by_hand():
    s, t = torch.tensor([[0.64, 0.36]]).double(), torch.tensor([[0.9, 0.1]]).double()
    found = MultiLevelOT()._parts(s.log(), t.log())
    assert found.absolute.item() == pytest.approx(0.52)
    assert found.logarithmic.item() == pytest.approx(-0.9 * math.log(0.64) - 0.1 * math.log(0.36))
    # square roots: the student's (.8, .6) / 1.4; the teacher's (3, 1) / 4; one position can only move to the other
    assert found.sequence.item() == pytest.approx(2 * (0.75 - 0.8 / 1.4))


def test_a_plan_brings_rows_and_columns_to_one():
    """Two positions of no difference and two of a large one: what moves stays among the equal."""
    cost = torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    stays = 1 / (1 + math.exp(-2 / 0.1))
    assert MultiLevelOT()._transport(cost).item() == pytest.approx(4 * (1 - stays))


def test_at_equality_the_value_is_what_the_parts_leave():
    """Not 0: documented. The absolute part is 0."""
    one = equal_case(MultiLevelOT())
    loss = one.objective.loss(one.inputs())
    assert loss.stats["absolute"].item() == pytest.approx(0, abs=1e-9)
    assert loss.stats["logarithmic"] > 1
    assert loss.stats["sequence"] > 0.1
    expected = 0.1 * (loss.stats["logarithmic"] + loss.stats["sequence"])
    torch.testing.assert_close(loss.total, expected)


def test_ranks_are_of_the_whole_response():
    """An entry that leads at one position only has one rank at both; that is the difference from uld."""
    probs = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]], dtype=torch.float64)
    found = multilevel_ot._top_of_sum(HiddenStates(probs.log(), LMHead(torch.eye(3, dtype=torch.float64))), 2, 1.0)
    assert found.ids.tolist() == [1, 0]  # sums .7, .8, .5
    torch.testing.assert_close(oracle.ranked(probs, 2), probs[:, found.ids])


def test_what_lies_below_the_floor_has_no_gradient():
    """Its value is the floor, whatever the logits are."""
    one = magnified(case(MultiLevelOT(log_weight=1.0)), 60.0)
    floor = math.exp(FLOOR_NATS)
    assert (matrices(one).probs()[0] < floor).any()
    assert_equals_oracle(one, partial(reference, log_weight=1.0, floor=floor))


def test_extremes_stay_finite():
    assert_survives(masked(case(MultiLevelOT()), [0, 2, 5]))
    assert_survives(magnified(case(MultiLevelOT()), 1e5))
    assert_survives(case(MultiLevelOT(sinkhorn_entropy=1e-4)))


@pytest.mark.parametrize("option", ["ranks", "iterations", "window"])
def test_counts_are_at_least_one(option):
    with pytest.raises(InputError, match=f"{option} must be at least 1, not 0"):
        MultiLevelOT(**{option: 0})


@pytest.mark.parametrize(
    ("option", "value"), [("sinkhorn_temperature", 0.0), ("sinkhorn_entropy", -1.0), ("temperature", math.nan)]
)
def test_temperatures_are_above_zero(option, value):
    with pytest.raises(InputError, match=f"{option} must be a finite number > 0"):
        MultiLevelOT(**{option: value})


@pytest.mark.parametrize("option", ["log_weight", "sequence_weight"])
def test_weights_are_not_negative(option):
    with pytest.raises(InputError, match=f"{option} must be a finite number >= 0"):
        MultiLevelOT(**{option: -0.1})
