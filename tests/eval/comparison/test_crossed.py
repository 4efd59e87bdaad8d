"""Methods with the same seeds and problems: against Clark's formulas, by hand, and how often it is wrong."""

import math

import numpy as np
import pytest
from scipy.stats import f, ttest_1samp

from crossdistill.eval.comparison.crossed import crossed_difference
from crossdistill.eval.comparison.significance import wilcoxon
from tests.oracles import arena as oracle

RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize(("seeds", "problems", "k"), [(2, 30, 1), (5, 40, 1), (3, 12, 4), (6, 3, 8), (5, 200, 1)])
def test_clarks_formulas(seeds, problems, k):
    first = RANDOM.binomial(k, 0.7, (seeds, problems)) / k
    second = RANDOM.binomial(k, 0.4, (seeds, problems)) / k
    statistic, degrees, p_value = oracle.min_f(first.tolist(), second.tolist())
    found = crossed_difference(first, second)
    assert found.degrees == pytest.approx(degrees, rel=1e-9)
    by_averages = wilcoxon((first - second).mean(axis=0))
    assert found.p_value == pytest.approx(max(p_value, by_averages), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    assert (found.n, found.num_problems) == (seeds, problems)
    # the interval reaches from the mean to where the statistic is at its 5 % point
    half_width = found.high - found.mean
    assert half_width == pytest.approx(found.mean - found.low)
    error = abs(found.mean) / statistic**0.5
    assert f.sf((half_width / error) ** 2, 1, degrees) == pytest.approx(0.05, rel=1e-9)


def test_by_hand():
    """Differences of seeds 0.5 and 1.0 on average, of problems 0.5, 1.0, 0.5 and 1.0.

    The variance of the mean is 0.125 / 2 between seeds and (1 / 12) / 4 between problems: 1 / 16 + 1 / 48 = 1 / 12. The
    degrees of freedom are (1 / 12)^2 / ((1 / 16)^2 / 1 + (1 / 48)^2 / 3) = 16 * 27 / (9 * 27 + 1 * 9) = 12 / 7. So the
    p-value of t = 0.75 * sqrt(12) is between those with one degree and with two, which have closed forms.
    """
    first = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    found = crossed_difference(first, np.zeros((2, 4)))
    assert found.mean == 0.75
    assert found.degrees == pytest.approx(12 / 7, rel=1e-12)
    assert 1 - 2 * math.atan(27**0.5 / 2) / math.pi > found.p_value > 1 - (27 / 4 / (2 + 27 / 4)) ** 0.5


def test_by_hand_if_seeds_alone_vary():
    """The variance of the mean of 0.5 and 1.0 is 0.125 / 2, so t = 0.75 / 0.25, with one degree of freedom."""
    first = np.repeat([[0.5], [1.0]], 8, axis=1)
    found = crossed_difference(first, np.zeros((2, 8)))
    assert found.degrees == 1.0
    assert found.p_value == pytest.approx(1 - 2 * math.atan(3) / math.pi, rel=1e-12)


def test_methods_that_answer_alike():
    same = RANDOM.integers(0, 2, (5, 30)).astype(float)
    found = crossed_difference(same, same)
    assert (found.mean, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_swapped_methods_are_mirrored():
    first, second = RANDOM.integers(0, 2, (2, 4, 25)).astype(float)
    one, other = crossed_difference(first, second), crossed_difference(second, first)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p_value == pytest.approx(other.p_value, rel=1e-12)


def test_the_order_of_seeds_and_problems_does_not_matter():
    first, second = RANDOM.integers(0, 2, (2, 4, 25)).astype(float)
    seeds, problems = RANDOM.permutation(4), RANDOM.permutation(25)
    one = crossed_difference(first, second)
    other = crossed_difference(first[seeds][:, problems], second[seeds][:, problems])
    assert other.p_value == pytest.approx(one.p_value, rel=1e-12)


def test_differences_without_any_spread_are_judged_by_wilcoxon_alone():
    """No variance, so that Student's t would give p = 0 from three problems."""
    found = crossed_difference(np.ones((2, 3)), np.zeros((2, 3)))
    assert (found.mean, found.low, found.high, found.degrees) == (1.0, 1.0, 1.0, 1.0)
    assert found.p_value == 2 / 2**3


def test_five_problems_are_too_few():
    """Of 50 problems five tell the methods apart, on all seeds alike: Student's t would say 0.024."""
    first = np.zeros((5, 50))
    first[:, :5] = 1.0
    assert crossed_difference(first, np.zeros((5, 50))).p_value == 2 / 2**5


def test_rounding_is_no_spread():
    """0.3 - 0.2 and 0.2 - 0.1 are equal, and so are their means over seeds and problems."""
    first = np.array([[0.3, 0.2, 0.3], [0.2, 0.3, 0.3]])
    second = np.array([[0.2, 0.1, 0.2], [0.1, 0.2, 0.2]])
    found = crossed_difference(first, second)
    assert found.low == found.high == found.mean
    assert found.p_value == 2 / 2**3


@pytest.mark.parametrize(
    "shapes", [((1, 5), (1, 5)), ((3, 1), (3, 1)), ((2, 5), (3, 5)), ((5,), (5,)), ((0, 0), (0, 0))]
)
def test_what_has_no_variance_is_refused(shapes):
    first, second = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="not two or more seeds"):
        crossed_difference(first, second)


# --- how often equal methods are told apart


def equal_methods(random, seeds, problems, base, by_method, by_seed):
    """Right or wrong of two methods that are equally good over all seeds and problems that could be drawn.

    Args:
        base: log-odds of the accuracy.
        by_method: how much problems suit a method, in log-odds.
        by_seed: how much the seeds of a method vary, likewise.
    """
    hardness = random.normal(0, 1.5, problems)
    for _ in range(2):
        suits = random.normal(0, by_method, problems)
        luck = random.normal(0, by_seed, seeds)[:, None]
        yield (random.random((seeds, problems)) < 1 / (1 + np.exp(-(base + hardness + suits + luck)))).astype(float)


SETTINGS = {
    "problems alone vary": (5, 60, 0.0, 0.0, 0.0),
    "problems suit methods": (5, 60, 0.0, 1.0, 0.0),
    "seeds vary": (5, 60, 0.0, 0.0, 0.5),
    "both": (5, 60, 0.0, 1.0, 0.3),
    "near the ceiling": (5, 40, 3.5, 0.5, 0.3),
    "three seeds": (3, 60, 0.0, 0.7, 0.3),
    "two seeds": (2, 60, 0.0, 0.7, 0.3),
}
NUM_TRIALS = 400


def false_positives(setting, p_value):
    random = np.random.default_rng(5)
    return np.mean([p_value(*equal_methods(random, *SETTINGS[setting])) < 0.05 for _ in range(NUM_TRIALS)])


@pytest.mark.parametrize("setting", SETTINGS)
def test_equal_methods_are_told_apart_in_at_most_five_of_a_hundred_trials(setting):
    allowed = 0.05 + 2 * (0.05 * 0.95 / NUM_TRIALS) ** 0.5  # the error of so many trials
    assert false_positives(setting, lambda a, b: crossed_difference(a, b).p_value) <= allowed


@pytest.mark.parametrize(
    ("setting", "axis", "at_least"), [("seeds vary", 0, 0.2), ("problems suit methods", 1, 0.08), ("both", None, 0.12)]
)
def test_simpler_tests_would_tell_them_apart_too_often(setting, axis, at_least):
    """Over problems alone (axis 0), seeds alone (axis 1), and over all seeds x problems as if they were independent."""

    def p_value(first, second):
        values = (first - second).ravel() if axis is None else (first - second).mean(axis=axis)
        return 1.0 if np.ptp(values) == 0 else ttest_1samp(values, 0).pvalue

    assert false_positives(setting, p_value) > at_least


def test_a_difference_of_ten_points_is_found():
    """Five seeds that vary by a point, 200 problems: 80 % against 90 %."""
    random = np.random.default_rng(6)
    found = []
    for _ in range(100):
        hardness = random.random(200)
        first, second = (
            (random.random((5, 200)) < np.clip(level + random.normal(0, 0.01, (5, 1)) + 0.1 * (hardness - 0.5), 0, 1))
            for level in (0.9, 0.8)
        )
        found.append(crossed_difference(first.astype(float), second.astype(float)).p_value < 0.05)
    assert np.mean(found) > 0.95
