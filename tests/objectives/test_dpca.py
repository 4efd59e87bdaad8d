"""The dpca loss against its definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import Alignment, InputError
from crossdistill.objectives.dpca import DPCA
from crossdistill.signal import Signal
from tests.objectives.cases import batch_of_logprobs
from tests.oracles import dpca as oracle

ADVANTAGE = st.floats(-10, 10).map(lambda value: round(value, 6))  # no products that vanish
TOKEN = st.tuples(st.floats(-8, 0), st.floats(-8, 0), ADVANTAGE)


def columns(rows: list[tuple[float, float, float]]) -> list[torch.Tensor]:
    return [torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in range(3)]


def value_and_gradient(objective: DPCA, logprobs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor):
    logprobs = logprobs.clone().requires_grad_()
    loss = objective.clipped(logprobs, old, advantages)
    (gradient,) = torch.autograd.grad(loss.total, logprobs)
    return loss, gradient


def near_a_corner(rows: list[tuple[float, float, float]], bounds: dict[str, float]) -> bool:
    """Whether a ratio is so close to a bound that rounding decides on which side it is."""
    corners = 1 - bounds["low"], 1 + bounds["high"], bounds["dual"]
    return any(abs(math.exp(row[0] - row[1]) - corner) < 1e-9 for row in rows for corner in corners)


@given(
    rows=st.lists(TOKEN, max_size=12),
    bounds=st.sampled_from(
        [
            {"low": 0.2, "high": 0.28, "dual": 10.0},
            {"low": 0.0, "high": 0.0, "dual": 1.5},
            {"low": 1.0, "high": 3.0, "dual": 2.0},
            {"low": 0.1, "high": 0.5, "dual": 3.0},
        ]
    ),
)
def test_value_gradient_and_clipped_count_equal_the_definition(rows, bounds):
    rows = [row for row in rows if not near_a_corner([row], bounds)]
    objective = DPCA(clip_low=bounds["low"], clip_high=bounds["high"], dual_clip=bounds["dual"])
    loss, gradient = value_and_gradient(objective, *columns(rows))
    expected, slopes, clipped = oracle.loss(*(column.tolist() for column in columns(rows)), **bounds)
    assert loss.total.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(gradient, torch.tensor(slopes, dtype=torch.float64))
    nonzero_clipped = clipped - sum(
        oracle.token(*row, **bounds).clipped for row in rows if row[2] == 0
    )  # a term of 0 looks the same clipped or not
    assert loss.stats["clipped"].item() == nonzero_clipped
    assert loss.stats["abs_advantage"].item() == pytest.approx(sum(abs(row[2]) for row in rows))
    assert loss.stats["ratio"].item() == pytest.approx(sum(math.exp(row[0] - row[1]) for row in rows))


@pytest.mark.parametrize(
    ("ratio", "advantage", "total", "slope", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, 0),
        (1.0, -2.0, 2.0, 2.0, 0),
        (1.2, 2.0, -2.4, -2.4, 0),
        (1.5, 2.0, -2.56, 0.0, 1),  # a gain beyond 1 + clip_high
        (0.5, 2.0, -1.0, -1.0, 0),  # a gain that was given up still pulls
        (0.5, -2.0, 1.6, 0.0, 1),  # a loss below 1 - clip_low
        (5.0, -2.0, 10.0, 10.0, 0),
        (20.0, -2.0, 20.0, 0.0, 1),  # the dual clip: 10 * 2
        (20.0, 0.0, 0.0, 0.0, 0),
    ],
)
def test_cases_worked_out_by_hand(ratio, advantage, total, slope, clipped):
    row = (math.log(ratio) - 3.0, -3.0, advantage)
    loss, gradient = value_and_gradient(DPCA(), *columns([row]))
    assert loss.total.item() == pytest.approx(total)
    assert gradient.item() == pytest.approx(slope)
    assert loss.stats["clipped"].item() == clipped


@given(st.lists(st.tuples(st.floats(-8, 0), st.floats(-10, 10)), min_size=1, max_size=8))
def test_at_the_policy_that_sampled_the_gradient_is_minus_the_advantage(rows):
    logprobs, advantages = columns([(logprob, logprob, advantage) for logprob, advantage in rows])[::2]
    _, gradient = value_and_gradient(DPCA(), logprobs, logprobs, advantages)
    torch.testing.assert_close(gradient, -advantages)


@pytest.mark.parametrize("advantage", [3.0, 0.0, -3.0])
@pytest.mark.parametrize("log_ratio", [100.0, 1000.0, -1000.0])
def test_a_ratio_beyond_floating_point_is_bounded_and_pulls_no_more(advantage, log_ratio):
    logprobs, old = torch.tensor([log_ratio]), torch.zeros(1)
    loss, gradient = value_and_gradient(DPCA(), logprobs, old, torch.tensor([advantage]))
    bounds = {3.0: (-1.28 * 3, 0.0), 0.0: (0.0, 0.0), -3.0: (10 * 3, 0.8 * 3)}[advantage]
    assert loss.total.item() == pytest.approx(bounds[0] if log_ratio > 0 else bounds[1])
    assert gradient.item() == 0
    assert math.isfinite(loss.stats["ratio"].item())


@given(rows=st.lists(TOKEN, max_size=12), cut=st.integers(0, 12))
def test_the_sum_over_parts_is_the_sum_of_the_whole(rows, cut):
    whole, *parts = (DPCA().clipped(*columns(part)) for part in (rows, rows[:cut], rows[cut:]))
    assert sum(part.total.item() for part in parts) == pytest.approx(whole.total.item(), abs=1e-9)
    for name, value in whole.stats.items():
        assert sum(part.stats[name].item() for part in parts) == pytest.approx(value.item(), abs=1e-9)


def test_an_empty_micro_batch_gives_zero_and_a_gradient_of_zero():
    logprobs = torch.zeros(0, requires_grad=True)
    parameter = torch.ones(3, requires_grad=True)
    loss = DPCA().clipped(torch.cat([logprobs, parameter[:0]]), torch.zeros(0), torch.zeros(0))
    loss.total.backward()
    assert loss.total.item() == 0
    assert parameter.grad.tolist() == [0, 0, 0]
    assert {name: value.item() for name, value in loss.stats.items()} == {"ratio": 0, "clipped": 0, "abs_advantage": 0}


def test_only_the_current_log_probabilities_carry_gradient():
    old, advantages = torch.zeros(2), torch.tensor([1.0, -1.0])
    loss = DPCA().clipped(torch.zeros(2, requires_grad=True), old, advantages)
    assert all(not value.requires_grad for value in loss.stats.values())


CHUNK = Alignment([0, 2, 3], [0, 1, 2], [0, 4, 5])


@pytest.mark.parametrize("credit", ["semantic_prior", "uniform", "first", "last"])
def test_a_teacher_equal_to_the_student_teaches_nothing(credit):
    student = torch.tensor([-1.0, -3.0, -0.5])
    objective = DPCA(credit=credit)
    advantages = objective.advantages(batch_of_logprobs(student, torch.tensor([-4.0, -0.5]), CHUNK))
    loss, gradient = value_and_gradient(objective, student, student, advantages)
    assert advantages.tolist() == [0, 0, 0]
    assert loss.total.item() == 0
    assert gradient.tolist() == [0, 0, 0]


def test_advantages_are_bounded_on_both_sides_and_shared_as_the_credit_says():
    student, teacher = torch.tensor([-1.0, -3.0, -20.0]), torch.tensor([-40.0, -0.5])
    batch = batch_of_logprobs(student, teacher, CHUNK)
    for objective, expected, bounded in (
        (DPCA(), [-9.0, -27.0, 19.5], [-9.0, -10.0, 10.0]),
        (DPCA(credit="uniform", max_advantage=15.0), [-18.0, -18.0, 19.5], [-15.0, -15.0, 15.0]),
        (DPCA(credit="last", max_advantage=50.0), [0.0, -36.0, 19.5], [0.0, -36.0, 19.5]),
    ):
        advantages = objective.advantages(batch)
        torch.testing.assert_close(advantages, torch.tensor(expected))
        torch.testing.assert_close(objective.bounded(advantages), torch.tensor(bounded))


def test_the_defaults_are_the_papers():
    objective = DPCA()
    assert (objective.clip_low, objective.clip_high) == (0.2, 0.28)
    assert (objective.dual_clip, objective.max_advantage) == (10, 10)
    assert (objective.credit, objective.name, objective.signal) == ("semantic_prior", "dpca", Signal.SAMPLED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"credit": "prior"}, "there is no credit method 'prior'; choose one of semantic_prior, uniform, first, last"),
        ({"clip_low": -0.1}, r"clip_low must lie in \[0, 1\] and clip_high be >= 0, not -0.1, 0.28"),
        ({"clip_low": 1.1}, r"clip_low must lie in \[0, 1\]"),
        ({"clip_low": math.nan}, r"clip_low must lie in \[0, 1\]"),
        ({"clip_high": -0.1}, "clip_high be >= 0, not 0.2, -0.1"),
        ({"clip_high": math.nan}, "clip_high be >= 0, not 0.2, nan"),
        ({"dual_clip": 1.0}, "dual_clip must be > 1 and max_advantage > 0, not 1.0, 10.0"),
        ({"dual_clip": math.nan}, "dual_clip must be > 1"),
        ({"max_advantage": 0.0}, "max_advantage > 0, not 10.0, 0.0"),
        ({"max_advantage": math.nan}, "max_advantage > 0, not 10.0, nan"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        DPCA(**options)
