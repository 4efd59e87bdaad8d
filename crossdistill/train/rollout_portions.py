"""Which rows ``generate`` samples at once: rows of similar prompt length, if that saves enough padding.

``generate`` pads all prompts to the longest, and computes that padding. Two portions save some of it and decode twice.
A step of decoding reads all weights, whatever the number of rows, which takes as long as computing some tokens of a
prompt: 28 on a CPU (SmolLM2-135M in float32, eight rows). On a GPU it is at least 150 by the ratio of an H100's rates,
and a thousand and more for models of a few billion weights, whose steps wait for kernels to be launched. So each
further portion must save that many tokens of padding for each token that may be decoded.
"""

from collections.abc import Sequence
from itertools import pairwise

ON_CPU, ON_ACCELERATOR = 30.0, 1000.0
"""Tokens of padding a step of decoding that a further portion must save, by default."""


def rollout_portions(lengths: Sequence[int], min_saved: float, max_portions: int | None = None) -> list[list[int]]:
    """Cut a batch into portions of similar prompt length, as long as each cut saves enough.

    Rows of one length stay together, and with them the responses to one prompt.

    Args:
        lengths: tokens of each row's prompt.
        min_saved: tokens of padding that each cut must save.
        max_portions: at most so many; None if there is no limit.

    Returns:
        The rows of each portion, the shortest first; one portion in the order given if nothing is cut.

    Example:
        >>> rollout_portions([900, 20, 1000, 30], min_saved=1000)
        [[1, 3], [0, 2]]
        >>> rollout_portions([900, 20, 1000, 30], min_saved=10_000)
        [[0, 1, 2, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    ascending = [lengths[row] for row in order]
    edges = [0, len(lengths)]
    while max_portions is None or len(edges) <= max_portions:
        saved, cut = max(_best_cut(ascending, first, last) for first, last in pairwise(edges))
        if saved == 0 or saved < min_saved:
            break
        edges = sorted([*edges, cut])
    if len(edges) == 2:
        return [list(range(len(lengths)))]
    return [order[first:last] for first, last in pairwise(edges)]


def _best_cut(ascending: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """Tokens of padding that the best cut of a portion saves, and the row before which it is."""
    savings = [((cut - first) * (ascending[last - 1] - ascending[cut - 1]), cut) for cut in range(first + 1, last)]
    return max(savings, default=(0, first))
