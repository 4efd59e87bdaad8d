"""The slow obvious twins of :mod:`crossdistill.eval.comparison`: everything that can be drawn is drawn, each once."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain, combinations, product
from math import comb


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Every outcome of fair coins that is at most as probable as the one seen."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    discordant = only_first + sum(b and not a for a, b in zip(first, second, strict=True))
    ways = [comb(discordant, heads) for heads in range(discordant + 1)]
    return sum(count for count in ways if count <= ways[only_first]) / 2**discordant


def wilcoxon(differences: Sequence[Fraction]) -> float:
    """The share of all signs of the ranks whose sum is at least as far from its mean as the one seen."""
    left = [difference for difference in differences if difference != 0]
    sizes = [abs(difference) for difference in left]
    # the mean rank of equal sizes
    ranks = [
        Fraction(sum(other < size for other in sizes) + 1 + sum(other <= size for other in sizes), 2) for size in sizes
    ]
    middle = sum(ranks, Fraction(0)) / 2
    seen = abs(sum((rank for rank, value in zip(ranks, left, strict=True) if value > 0), Fraction(0)) - middle)
    sums = (
        sum((rank for rank, sign in zip(ranks, signs, strict=True) if sign), Fraction(0))
        for signs in product((False, True), repeat=len(ranks))
    )
    return sum(abs(total - middle) >= seen for total in sums) / 2 ** len(ranks)


def holm(p_values: Sequence[float]) -> list[float]:
    """Closed testing: a hypothesis is rejected if Bonferroni rejects every set of hypotheses that it belongs to."""
    indices = range(len(p_values))
    every = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p_values) + 1)))
    return [
        max(min(1.0, len(subset) * min(p_values[other] for other in subset)) for subset in every if index in subset)
        for index in indices
    ]


def resampled(num_problems: int, statistic: Callable[[Sequence[int]], float]) -> list[float]:
    """A statistic of every resample with replacement, in ascending order; all are equally probable."""
    return sorted(statistic(drawn) for drawn in product(range(num_problems), repeat=num_problems))


def cost_at(costs: Sequence[float], accuracies: Sequence[float], accuracy: float, num_points: int = 100_000) -> float:
    """Walk along the straight lines between evaluations, until one ends at or above the accuracy, and find it there."""
    for before in range(len(costs) - 1):
        if accuracies[before + 1] < accuracy:
            continue
        for point in range(num_points + 1):
            share = point / num_points
            if (1 - share) * accuracies[before] + share * accuracies[before + 1] >= accuracy - 1e-12:
                return (1 - share) * costs[before] + share * costs[before + 1]
    raise AssertionError("it is never reached")
