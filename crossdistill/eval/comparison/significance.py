"""Exact tests of paired outcomes, and Holm's correction for several of them.

Needs the extra ``eval``, for scipy.
"""

from collections.abc import Sequence

import numpy as np

SIGNIFICANCE = 0.05
_MAX_EXACT = 16  # differences whose 2^n signs are all tried


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact two-sided p-value of McNemar's test (McNemar 1947), for one sample of each problem.

    Only the problems that one model has right and the other wrong count: if the models are equally good, these fall to
    either side like a fair coin.

    Args:
        first: bool [problems], right or wrong.
        second: the same of the other model.

    Returns:
        The p-value; 1 if no problem tells the models apart.

    Example:
        >>> mcnemar(np.array([True] * 5 + [False]), np.array([False] * 6))
        0.0625
    """
    from scipy.stats import binomtest

    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def wilcoxon(differences: np.ndarray) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test (Wilcoxon 1945), for averages over several samples.

    Problems on which both models have the same average are left out before the ranks are given, as Wilcoxon did; equal
    differences share their mean rank. The p-value is exact, over all signs, for up to 16 problems that are left; beyond
    them it's exact as well if there are up to 50 without equal differences, and otherwise the normal approximation
    with its correction for ties.

    Args:
        differences: float [problems].

    Returns:
        The p-value; 1 if at most one difference is left.

    Example:
        >>> wilcoxon(np.array([0.5, 0.25, 0.25, 0.125, 0.0, 0.5]))
        0.0625
    """
    from scipy.stats import wilcoxon as signed_rank

    # equal differences of averages, such as 0.3 - 0.2 and 0.2 - 0.1, must be equal in floating point too
    left = np.round(differences, 12)
    left = left[left != 0]
    if len(left) < 2:  # of a single difference either sign is as extreme
        return 1.0
    return _exact_signed_rank(left) if len(left) <= _MAX_EXACT else float(signed_rank(left).pvalue)


def _exact_signed_rank(differences: np.ndarray) -> float:
    """The share of all signs whose sum of positive ranks is as far from its mean as the one seen."""
    from scipy.stats import rankdata

    doubled = (2 * rankdata(np.abs(differences))).astype(int)  # mean ranks of equal sizes may be halves
    ways = np.ones(1)  # number of signs for each sum of ranks
    for rank in doubled:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    from_mean = np.abs(2 * np.arange(len(ways)) - doubled.sum())
    seen = abs(2 * doubled[differences > 0].sum() - doubled.sum())
    return float(ways[from_mean >= seen].sum() / ways.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): p-values to hold against 0.05 if several comparisons are made.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than one before it.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    corrected = np.empty(len(p_values))
    corrected[order] = stepped
    return corrected.tolist()
