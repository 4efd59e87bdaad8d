"""The tests against their definitions, by enumeration."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.eval.comparison.significance import holm, mcnemar, wilcoxon
from tests.oracles import comparison as oracle

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
AVERAGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9)


@given(PAIRS)
def test_mcnemar(pairs):
    first, second = np.array(pairs).T
    assert mcnemar(first, second) == pytest.approx(oracle.mcnemar(*zip(*pairs, strict=True)), rel=1e-9)
    assert mcnemar(first, second) == mcnemar(second, first)


@given(AVERAGES, st.sampled_from([3, 4, 7, 10]))
def test_wilcoxon_is_exact_with_ties_and_zeros(counts, k):
    differences = np.array([first / k - second / k for first, second in counts])  # as averages come: rounded
    exact = oracle.wilcoxon([Fraction(first - second, k) for first, second in counts])
    assert wilcoxon(differences) == pytest.approx(exact, rel=1e-9)


def test_wilcoxon_with_five_differences_cannot_be_significant():
    """Thirty problems, of which five tell the models apart: the normal approximation would say 0.04."""
    differences = np.array([0.125, 0.25, 0.375, 0.5, 0.625] + [0.0] * 25)
    assert wilcoxon(differences) == 2 / 2**5


def test_wilcoxon_of_many_problems_is_near_its_permutation_distribution():
    random = np.random.default_rng(3)
    differences = random.integers(-3, 5, 60) / 8
    ranks = np.abs(differences[differences != 0])
    ranks = np.array([(np.sum(ranks < size) + 1 + np.sum(ranks <= size)) / 2 for size in ranks])
    seen = abs(np.sum(ranks * np.sign(differences[differences != 0])))
    signs = random.choice([-1, 1], size=(200_000, len(ranks)))
    assert wilcoxon(differences) == pytest.approx(np.mean(np.abs(signs @ ranks) >= seen), abs=0.006)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_closed_testing(p_values):
    assert holm(p_values) == pytest.approx(oracle.holm(p_values), rel=1e-12)


def test_models_that_agree():
    same = np.array([True, False, True])
    assert mcnemar(same, same) == 1.0
    assert wilcoxon(np.zeros(3)) == 1.0
    assert holm([]) == []
