"""Group variance from its definition: log-probabilities of whole responses, and the variance over each group."""

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor


def probability(log_probs: Tensor, ids: Sequence[int], stops: Sequence[int] | None) -> Tensor:
    """The probability of a response: the product over its tokens, the last of which is any of `stops` if it ended."""
    value = torch.ones((), dtype=torch.float64)
    for place, token in enumerate(ids):
        row = log_probs[place].exp()
        is_end = stops is not None and place == len(ids) - 1
        value = value * (row[list(stops)].sum() if is_end else row[token])
    return value


def half_variance(values: Sequence[Tensor]) -> Tensor:
    """Half of the sample variance, from all pairs: the mean of (d_i - d_j)^2 over them is twice the variance."""
    k = len(values)
    pairs = [(values[i] - values[j]) ** 2 for i in range(k) for j in range(k) if i != j]
    return sum(pairs) / len(pairs) / 4


def advantages(values: Sequence[float]) -> list[float]:
    """Of each response: what the others lose more than it does."""
    return [statistics.fmean(values[:i] + values[i + 1 :]) - value for i, value in enumerate(values)]
