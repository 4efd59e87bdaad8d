"""The slow obvious twin of :mod:`crossdistill.distill.group_rewards`: one response at a time, in Python floats."""

import statistics
from collections.abc import Sequence


def group_advantages(rewards: Sequence[float | None], groups: Sequence[object]) -> list[float]:
    """(r - mean) / standard deviation over the responses of the same group that have a reward; GRPO's equation."""
    values = []
    for reward, group in zip(rewards, groups, strict=True):
        own = [other for other, of in zip(rewards, groups, strict=True) if of == group and other is not None]
        deviation = statistics.pstdev(own) if own else 0.0
        if reward is None or len(set(own)) == 1:
            values.append(0.0)
        else:
            values.append((reward - statistics.fmean(own)) / deviation)
    return values
