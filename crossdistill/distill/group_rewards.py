"""A reward of whole responses beside the teacher: A_i = A_i^teacher + weight * R of the response that token i is in.

    R = (r - mean r) / std r      over the responses of its group that have a reward r,

with the population's standard deviation (divided by n), so that R has mean 0 and mean square 1 in each group, whatever
the unit of r (GRPO; Shao et al. 2402.03300, section 4.1.2). It is 0 in a group whose rewards are all equal up to
rounding, a group of one among them: there is nothing to compare. A response without a reward (None) gets no R and
changes none.

R goes to every supervised token of the response alike; `gvpo`, which has one advantage a response, reads it once. It is
added after the teachers' advantages were bounded, so that no teacher drowns it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Rollout
from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective

Rewards = Sequence[float | None]
"""Of each row, in any unit; None for a response that has none."""

_ROUNDING = 1e-9
"""Spread of equal rewards, relative to the largest of them: divided by itself, rounding would look like merit."""


def check_takes_rewards(objective: Objective) -> None:
    """Check that the loss of an objective reads advantages to which a reward can be added.

    Raises:
        InputError: it does not.
    """
    if not objective.takes_rewards:
        raise InputError(
            f"objective {objective.name!r} does not learn by advantages, to which a reward could be added: leave the "
            "reward out, or take an objective that does, such as dpca or gvpo."
        )


def check_reward_weight(weight: float) -> None:
    """Raises InputError for a weight of rewards that has no meaning."""
    if not 0 < weight < math.inf:
        raise InputError(f"reward_weight must be above 0 and finite, not {weight}: leave the reward out to have none.")


def check_rewards(rewards: Rewards, groups: Sequence[Hashable]) -> None:
    """Check that there is one finite reward, or None, for each response, and something to compare it with.

    Raises:
        InputError: there is not.
    """
    if len(rewards) != len(groups):
        raise InputError(f"there are {len(rewards)} rewards for {len(groups)} responses: give one, or None, for each.")
    for row, reward in enumerate(rewards):
        if reward is not None and not math.isfinite(reward):
            raise InputError(f"the reward of response {row} is {reward}: give a finite number, or None for none.")
    if groups and len(set(groups)) == len(groups):
        raise InputError(
            "a reward is compared within a group of responses to one prompt, and each response here is alone: sample "
            "several to each prompt and give their groups."
        )


def group_advantages(rewards: Rewards, groups: Sequence[Hashable]) -> np.ndarray:
    """The R of the module's equation.

    Args:
        rewards: of each row.
        groups: of each row.

    Returns:
        float64 [rows].

    Example:
        >>> group_advantages([1.0, 0.0, 0.5, 0.5], [0, 0, 1, 1]).tolist()
        [1.0, -1.0, 0.0, 0.0]
    """
    values = np.array([math.nan if reward is None else reward for reward in rewards], dtype=np.float64)
    result = np.zeros(len(values))
    for rows in rows_by_group(rewards, groups):
        own = _in_unit_range(values[rows])
        if differ(own):
            result[rows] = (own - own.mean()) / own.std()
    return result


def differ(rewards: Sequence[float] | np.ndarray) -> bool:
    """Whether the rewards of a group are not all equal, up to rounding.

    Args:
        rewards: at least one.
    """
    values = _in_unit_range(np.asarray(rewards, dtype=np.float64))
    return bool(np.ptp(values) > _ROUNDING)


def _in_unit_range(values: np.ndarray) -> np.ndarray:
    """Rewards of another unit, in which the largest is 1 in size, so that no square of one overflows or vanishes."""
    largest = np.abs(values).max()
    return values / largest if largest > 0 else values


def rows_by_group(rewards: Rewards, groups: Sequence[Hashable]) -> list[list[int]]:
    """The rows of each group that have a reward; groups without one are left out."""
    rows: dict[Hashable, list[int]] = {}
    for row, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        if reward is not None:
            rows.setdefault(group, []).append(row)
    return list(rows.values())


def with_rewards(
    responses: Sequence[ScoredResponse], rollout: Rollout, rewards: Rewards, weight: float
) -> list[ScoredResponse]:
    """Scored responses, one for each turn, with the reward of their row in their advantages.

    Args:
        responses: of the rollout's turns, in order.
        rollout: whose groups are compared.
        rewards: of the rollout's rows.
        weight: of a reward's R beside the teacher's nats.

    Raises:
        InputError: as :func:`check_rewards`.
    """
    check_rewards(rewards, rollout.groups)
    values = weight * group_advantages(rewards, rollout.groups)
    return [
        replace(item, advantages=np.where(item.mask, item.advantages + values[turn.row], 0).astype(np.float32))
        for turn, item in zip(rollout.turns, responses, strict=True)
    ]
