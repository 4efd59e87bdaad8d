"""Scores of samples from their definitions, by counting."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations


def avg(right: Sequence[Sequence[bool]]) -> Fraction:
    """Mean over problems of the share of right samples."""
    shares = [Fraction(sum(of_problem), len(of_problem)) for of_problem in right]
    return sum(shares, Fraction()) / len(shares)


def pass_at(j: int, of_problem: Sequence[bool]) -> Fraction:
    """Share of the subsets of j samples of which at least one is right."""
    subsets = list(combinations(of_problem, j))
    return Fraction(sum(any(subset) for subset in subsets), len(subsets))


def mean_pass_at(j: int, right: Sequence[Sequence[bool]]) -> Fraction:
    return sum((pass_at(j, of_problem) for of_problem in right), Fraction()) / len(right)


def nucleus(probabilities: Sequence[float], top_p: float) -> list[float]:
    """The most probable tokens, one after the other until they reach `top_p`; the others at 0."""
    kept, mass = set(), 0.0
    for token in sorted(range(len(probabilities)), key=lambda token: -probabilities[token]):
        if mass >= top_p:
            break
        kept.add(token)
        mass += probabilities[token]
    return [value if token in kept else 0.0 for token, value in enumerate(probabilities)]


def inverse(probabilities: Sequence[float], uniform: float) -> int:
    """The first token at which the sum of probabilities exceeds the uniform number times their whole sum."""
    target, total = uniform * sum(probabilities), 0.0
    for token, value in enumerate(probabilities):
        total += value
        if total > target:
            return token
    raise AssertionError("a uniform number is below 1")
