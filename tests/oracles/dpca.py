"""The slow obvious twin of the dpca loss: one token at a time, in Python floats, case by case.

The slope is written from the cases of the clipping and not by differentiating the value.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """One token.

    Attributes:
        loss: its term.
        slope: the derivative of the term by log pi_theta.
        clipped: whether a bound is active.
    """

    loss: float
    slope: float
    clipped: bool


def token(logprob: float, old: float, advantage: float, *, low: float, high: float, dual: float) -> Token:
    ratio = math.exp(logprob - old)
    if advantage >= 0:
        bound = 1 + high  # a gain counts up to this ratio
        if ratio > bound:
            return Token(-bound * advantage, 0.0, True)
        return Token(-ratio * advantage, -ratio * advantage, False)
    if ratio < 1 - low:  # a loss counts down to this ratio,
        return Token(-(1 - low) * advantage, 0.0, True)
    if ratio > dual:  # and up to this one
        return Token(-dual * advantage, 0.0, True)
    return Token(-ratio * advantage, -ratio * advantage, False)


def loss(
    logprobs: Sequence[float],
    old: Sequence[float],
    advantages: Sequence[float],
    *,
    low: float = 0.2,
    high: float = 0.28,
    dual: float = 10.0,
) -> tuple[float, list[float], int]:
    """The sum, its gradient with respect to `logprobs`, and the number of clipped tokens."""
    tokens = [token(*row, low=low, high=high, dual=dual) for row in zip(logprobs, old, advantages, strict=True)]
    return sum(item.loss for item in tokens), [item.slope for item in tokens], sum(item.clipped for item in tokens)
