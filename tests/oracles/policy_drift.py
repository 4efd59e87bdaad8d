"""Mean |log ratio| and mean log ratio, token by token in float64."""

import math
from collections.abc import Sequence


def mean_drift(
    logits: Sequence[Sequence[float]], ids: Sequence[int], old: Sequence[float], temperature: float
) -> tuple[float, float]:
    """Nats a token, from the logits of each token's position: the mean size, and the mean."""
    sizes, ratios = [], []
    for row, token, before in zip(logits, ids, old, strict=True):
        scaled = [value / temperature for value in row]
        largest = max(scaled)
        log_sum = largest + math.log(sum(math.exp(value - largest) for value in scaled))
        ratios.append(scaled[token] - log_sum - before)
        sizes.append(abs(ratios[-1]))
    return sum(sizes) / len(ids), sum(ratios) / len(ids)
