"""Scores against their definitions, and the coverage of their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.eval.interval import wilson
from crossdistill.eval.sample import Sample
from crossdistill.eval.scores import pass_at, scores, share_interval, sizes
from tests.oracles import scores as oracle

RIGHT = st.integers(1, 5).flatmap(
    lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=6)
)


def sample(problem: int, index: int, correct: bool, **fields: object) -> Sample:
    usual = {"response": "so 4", "finish_reason": "stop", "tokens": 3, "seconds": 0.1, "extracted": "4"}
    return Sample(str(problem), index, correct=correct, **{**usual, **fields})


def samples_of(right: list[list[bool]]) -> dict[str, list[Sample]]:
    return {str(p): [sample(p, k, one) for k, one in enumerate(row)] for p, row in enumerate(right)}


@given(RIGHT)
def test_shares_are_those_of_the_definition(right):
    found, k = scores(samples_of(right)), len(right[0])
    assert found["avg@k"].mean == pytest.approx(float(oracle.avg(right)))
    assert {name for name in found if name.startswith("pass@")} == {f"pass@{j}" for j in sizes(k)}
    for j in sizes(k):
        assert found[f"pass@{j}"].mean == pytest.approx(float(oracle.mean_pass_at(j, right)))
    for estimate in found.values():
        assert estimate.n == len(right)


@given(RIGHT)
def test_intervals_hold_the_mean_and_stay_within_0_and_1(right):
    found = scores(samples_of(right))
    for name in ("avg@k", "pass@1", "parsed", "truncated", "empty"):
        assert 0 <= found[name].low <= found[name].mean + 1e-12
        assert found[name].mean - 1e-12 <= found[name].high <= 1


@pytest.mark.parametrize(
    ("j", "k", "right"), [(j, k, c) for k in range(1, 7) for c in range(k + 1) for j in range(1, k + 1)]
)
def test_pass_at_counts_subsets(j, k, right):
    assert pass_at(j, k, right) == pytest.approx(float(oracle.pass_at(j, [True] * right + [False] * (k - right))))


def test_what_is_said_beside_accuracy():
    cut = {"finish_reason": "length", "extracted": None, "tokens": 9}
    rows = {
        "0": [sample(0, 0, True), sample(0, 1, False, **cut)],
        "1": [sample(1, 0, False, response=" \n", extracted=None, tokens=1), sample(1, 1, False)],
    }
    found = scores(rows)
    assert {name: found[name].mean for name in ("parsed", "truncated", "empty", "mean_tokens")} == {
        "parsed": 0.5,
        "truncated": 0.25,
        "empty": 0.25,
        "mean_tokens": 4.0,
    }


def test_one_sample_a_problem_has_wilsons_interval():
    right = [[True]] * 7 + [[False]] * 5
    assert scores(samples_of(right))["avg@k"] == wilson(7, 12)


def test_problems_that_are_always_solved_leave_doubt():
    found = scores(samples_of([[True] * 4] * 30))["avg@k"]
    assert found == wilson(30, 30)
    assert found.low < 0.9


def test_a_problem_that_is_solved_once_leaves_as_much_doubt_as_none():
    """Resampled, it would leave less: nearly all resamples of 30 problems have this one at most three times."""
    never, once = (
        scores(samples_of([first, *[[False] * 8] * 29]))["avg@k"] for first in ([False] * 8, [True, *[False] * 7])
    )
    assert once == wilson(1 / 8, 30)
    assert never.low <= once.low
    assert never.high < once.high


def test_samples_of_a_problem_do_not_count_as_problems():
    """Eight equal samples say no more than one."""
    one = scores(samples_of([[True]] * 15 + [[False]] * 15))["avg@k"]
    eight = scores(samples_of([[True] * 8] * 15 + [[False] * 8] * 15))["avg@k"]
    assert eight == one


def test_as_many_samples_of_each_problem():
    with pytest.raises(ValueError, match="as many samples"):
        scores({"0": [sample(0, 0, True)], "1": []})
    with pytest.raises(ValueError, match="as many samples"):
        scores({})


@pytest.mark.slow
@pytest.mark.parametrize(("num_problems", "a", "b"), [(30, 0.3, 0.6), (30, 0.1, 0.9), (5, 0.3, 0.6), (10, 1.0, 0.1)])
def test_intervals_cover_the_truth(num_problems, a, b):
    """Problems that a model mostly solves nearly always or nearly never, 8 samples each."""
    rng, hits, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        solved = rng.beta(a, b, size=num_problems)
        found = share_interval((rng.binomial(8, solved) / 8).tolist())
        hits += found.low <= a / (a + b) <= found.high
    assert hits / trials >= 0.92
