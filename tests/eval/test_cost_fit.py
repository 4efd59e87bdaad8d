import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossdistill.eval.cost_fit import LogLine, needed_by_problems
from tests.oracles import cost_fit as oracle

COUNTS, RISING = [1_000, 2_000, 4_000, 8_000, 16_000], [0.20, 0.26, 0.29, 0.36, 0.40]


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 1)), min_size=2, max_size=6))
def test_the_line_is_that_of_the_normal_equations(points):
    counts, accuracies = zip(*points, strict=True)
    assume(max(counts) > 1.1 * min(counts))
    line = LogLine.of(counts, accuracies)
    slope, intercept = oracle.line(counts, accuracies)
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.at(math.e**2) == pytest.approx(intercept + 2 * slope, abs=1e-7)


@pytest.mark.parametrize("counts", [[], [5], [5, 5], [0, 5], [-1, 5]])
def test_what_gives_no_line_is_refused(counts):
    with pytest.raises(ValueError, match="two different positive counts"):
        LogLine.of(counts, [0.5] * len(counts))


@pytest.mark.parametrize("error", [0.0, 0.02])
@pytest.mark.parametrize("accuracy", [0.30, 0.45, 0.60])
def test_both_ends_are_where_the_test_begins_to_reject(accuracy, error):
    line = LogLine.of(COUNTS, RISING)
    low, high = line.needed_interval(accuracy, error)
    assert low < line.needed(accuracy) < high
    for end, outward in ((low, -1e-3), (high, 1e-3)):
        assert oracle.holds(COUNTS, RISING, math.log(end) - outward, accuracy, error)
        assert not oracle.holds(COUNTS, RISING, math.log(end) + outward, accuracy, error)


def test_without_a_significant_slope_there_is_no_upper_end():
    scattered = [0.20, 0.35, 0.18, 0.33, 0.25]
    line = LogLine.of(COUNTS, scattered)
    assert line.slope > 0
    low, high = line.needed_interval(0.9)
    assert high == math.inf
    assert oracle.holds(COUNTS, scattered, 60.0, 0.9, 0.0)
    assert low == 0 or not oracle.holds(COUNTS, scattered, math.log(low) - 1e-3, 0.9, 0.0)


def test_a_line_that_does_not_rise_is_never_there():
    for accuracies in ([0.3] * 5, RISING[::-1]):
        line = LogLine.of(COUNTS, accuracies)
        assert line.needed(0.9) == math.inf
        assert line.needed_interval(0.9) == (0, math.inf)


def test_two_points_have_no_scatter():
    with pytest.raises(ValueError, match="takes 3 measurements"):
        LogLine.of(COUNTS[:2], RISING[:2]).needed_interval(0.5)


def test_an_exact_line_has_an_interval_of_no_width():
    line = LogLine.of([1, math.e, math.e**2], [0.1, 0.2, 0.3])
    assert line.needed_interval(0.5) == pytest.approx((math.exp(4), math.exp(4)), rel=1e-6)


def test_a_count_beyond_numbers_is_infinite():
    assert LogLine.of([10, 20], [0.1, 0.1001]).needed(0.9) == math.inf


def problems(seed: int, num: int) -> list[list[float]]:
    """Results of models that answer ever more of the same problems."""
    draws = random.Random(seed)
    hard = [draws.random() for _ in range(num)]
    return [[float(draws.random() < skill * (1.4 - one)) for one in hard] for skill in (0.4, 0.6, 0.8, 0.95)]


def test_resampling_problems_agrees_with_a_slow_one():
    rows = problems(3, 120)
    low, high = needed_by_problems(COUNTS[:3], rows[:3], rows[3])
    slow = oracle.resampled(COUNTS[:3], rows[:3], rows[3], 2_000)
    assert math.log(low) == pytest.approx(math.log(slow[50]), abs=0.15)
    assert math.log(high) == pytest.approx(math.log(slow[1949]), abs=0.3)


def test_few_problems_leave_the_upper_end_open():
    rows = problems(1, 12)
    assert needed_by_problems(COUNTS[:3], rows[:3], rows[3])[1] == math.inf


def test_models_that_answer_alike_leave_no_uncertainty_of_problems():
    """A model that is right twice as often on each problem: whatever is drawn, the ratio stays."""
    rows = [[0.2] * 10, [0.4] * 10, [0.6] * 10]
    assert needed_by_problems([10, 100], rows[:2], rows[2]) == pytest.approx((1_000, 1_000), rel=1e-6)
