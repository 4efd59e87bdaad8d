"""The bootstrap against all resamples of small sets, paired and joint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdistill import InputError
from crossdistill.eval.comparison.difference import MCNEMAR, WILCOXON, paired_difference
from crossdistill.eval.comparison.recovery import gap_recovery
from crossdistill.eval.comparison.resampling import NUM_RESAMPLES, percentiles, resampled_means
from tests.oracles import comparison as oracle

FIRST = np.array([1.0, 0.5, 1.0, 0.25, 0.75, 1.0])
SECOND = np.array([0.0, 0.5, 0.25, 0.5, 0.0, 0.75])
TOLERANCE = 0.008  # five standard errors of a share of 0.025 in 10,000


def assert_is_quantile(value, every, share):
    """`value` has at most that share of all resamples below it, and at least that share up to it."""
    every = np.asarray(every)
    assert np.mean(every < value - 1e-9) <= share + TOLERANCE
    assert np.mean(every <= value + 1e-9) >= share - TOLERANCE


def test_the_interval_of_a_difference_is_paired():
    found = paired_difference(FIRST, SECOND)
    every = oracle.resampled(len(FIRST), lambda drawn: np.mean([FIRST[index] - SECOND[index] for index in drawn]))
    assert found.mean == pytest.approx(FIRST.mean() - SECOND.mean())
    assert_is_quantile(found.low, every, 0.025)
    assert_is_quantile(found.high, every, 0.975)
    unpaired = oracle.resampled(len(FIRST), lambda drawn: np.mean([FIRST[index] - SECOND[-index] for index in drawn]))
    assert np.mean(np.asarray(unpaired) < found.low) > 0.025 + TOLERANCE  # another pairing has another interval


def test_the_recovery_is_a_joint_bootstrap():
    start, teacher = np.zeros(6), np.array([1.0, 0.5, 1.0, 1.0, 0.75, 1.0])
    student = np.array([1.0, 0.0, 0.0, 0.75, 0.5, 1.0])

    def rate(drawn):
        gap = sum(teacher[index] - start[index] for index in drawn)
        return sum(student[index] - start[index] for index in drawn) / gap

    found = gap_recovery(student, start, teacher)
    every = oracle.resampled(6, rate)
    assert found.mean == pytest.approx(student.sum() / teacher.sum())
    assert_is_quantile(found.low, every, 0.025)
    assert_is_quantile(found.high, every, 0.975)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """Of 300 pairs of models that differ by 0.2: three standard errors around 0.95 reach from 0.912 to 0.988."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        luck = random.random((80, 2))
        found = paired_difference((luck[:, 0] < 0.6).astype(float), (luck[:, 1] < 0.4).astype(float))
        held += found.low <= 0.2 <= found.high
    assert 0.912 <= held / 300 <= 0.988


def test_the_same_runs_have_the_same_interval():
    assert paired_difference(FIRST, SECOND) == paired_difference(FIRST, SECOND)
    assert resampled_means(FIRST[:, None]).shape == (NUM_RESAMPLES, 1)


@settings(max_examples=10)
@given(st.integers(1, 30))
def test_models_that_agree_everywhere(num_problems):
    same = np.linspace(0, 1, num_problems)
    found = paired_difference(same, same)
    assert (found.mean, found.low, found.high, found.p_value, found.n) == (0.0, 0.0, 0.0, 1.0, num_problems)


def test_the_test_is_chosen_by_the_averages():
    ones, zeros = np.ones(4), np.zeros(4)
    assert paired_difference(ones, zeros).test == MCNEMAR
    assert paired_difference(ones, np.array([0.0, 0.0, 0.0, 0.5])).test == WILCOXON


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 0.0])])
def test_what_is_no_pair(first, second):
    with pytest.raises(ValueError, match="are no pairs"):
        paired_difference(np.array(first), np.array(second))


def test_a_recovery_without_headroom_is_refused():
    start = np.array([1.0, 0.0] * 20)
    with pytest.raises(InputError, match=r"^there is no headroom: teacher minus start is \+0\.000 .* to recover: take"):
        gap_recovery(np.ones(40), start, start)


def test_four_of_thirty_are_no_headroom():
    start, teacher = np.zeros(30), np.array([1.0] * 4 + [0.0] * 26)
    assert paired_difference(teacher, start).low > 0  # the bootstrap alone would take it
    with pytest.raises(InputError, match=r"p = 0\.125"):
        gap_recovery(start, start, teacher)


def test_a_resample_without_headroom_counts_as_unbounded():
    """Headroom of six problems of 30, all one way: one resample in 800 has none."""
    start, teacher = np.zeros(30), np.array([1.0] * 6 + [0.0] * 24)
    found = gap_recovery(np.array([1.0] * 3 + [0.0] * 24 + [1.0] * 3), start, teacher)
    assert found.mean == 1.0
    assert 2 < found.high < np.inf
    assert percentiles(np.array([-np.inf] + [0.0] * 8 + [np.inf])) == (-np.inf, np.inf)


def test_better_than_the_teacher_and_worse_than_the_start():
    start, teacher = np.array([1.0] * 10 + [0.0] * 30), np.array([1.0] * 30 + [0.0] * 10)
    assert gap_recovery(np.ones(40), start, teacher).mean == 1.5
    assert gap_recovery(np.zeros(40), start, teacher).mean == -0.5
