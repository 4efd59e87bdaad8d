"""What it cost to reach an accuracy in training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

COSTS = {"step": "steps", "student_tokens": "student tokens", "flops": "FLOPs", "seconds": "seconds"}
"""What is counted since the start of training -> its name."""


@dataclass(frozen=True)
class Point:
    """An evaluation during training.

    Attributes:
        accuracy: the mean.
        ci: ends of its 95 % interval; None if it has none.
        costs: keys of COSTS -> spent until then; what was not recorded is absent.
    """

    accuracy: float
    ci: tuple[float, float] | None
    costs: Mapping[str, float]


def cost_to_reach(curve: Sequence[Point], accuracy: float) -> dict[str, float] | None:
    """The costs at which a curve first reaches an accuracy.

    The first evaluation that reaches it decides, even if a later one falls below. Between it and the one before, each
    cost is interpolated linearly in the accuracy; at the first evaluation of all, the cost is that evaluation's.

    Args:
        curve: evaluations by the order of their steps.
        accuracy: to reach.

    Returns:
        Keys of COSTS that both evaluations have -> cost; None if no evaluation reaches it.

    Example:
        >>> curve = [Point(0.25, None, {"step": 0}), Point(0.75, None, {"step": 100})]
        >>> cost_to_reach(curve, 0.5), cost_to_reach(curve, 1.0)
        ({'step': 50.0}, None)
    """
    if curve and curve[0].accuracy >= accuracy:
        return {key: float(value) for key, value in curve[0].costs.items()}
    for before, after in pairwise(curve):
        if after.accuracy >= accuracy:
            share = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
            shared = [key for key in COSTS if key in before.costs and key in after.costs]
            return {key: before.costs[key] + share * (after.costs[key] - before.costs[key]) for key in shared}
    return None


@dataclass(frozen=True)
class Reached:
    """What it cost the runs of a method to reach an accuracy.

    Attributes:
        accuracy: to reach.
        num_runs: runs with a curve.
        num_reached: runs that reached it.
        costs: keys of COSTS -> mean over the runs; None unless all reached it: a mean over those that did would
            favour a method that fails often.
    """

    accuracy: float
    num_runs: int
    num_reached: int
    costs: dict[str, float] | None


def costs_to_reach(curves: Sequence[Sequence[Point]], accuracy: float) -> Reached:
    """:func:`cost_to_reach` for the runs of one method, such as its seeds.

    Args:
        curves: one for each run; at least one.
        accuracy: to reach.

    Example:
        >>> curves = [[Point(0.5, None, {"step": 10})], [Point(0.6, None, {"step": 20})]]
        >>> costs_to_reach(curves, 0.5).costs, costs_to_reach(curves, 0.6).num_reached
        ({'step': 15.0}, 1)
    """
    found = [cost_to_reach(curve, accuracy) for curve in curves]
    reached = [costs for costs in found if costs is not None]
    if len(reached) < len(curves):
        return Reached(accuracy, len(curves), len(reached), None)
    shared = [key for key in COSTS if all(key in costs for costs in reached)]
    means = {key: sum(costs[key] for costs in reached) / len(reached) for key in shared}
    return Reached(accuracy, len(curves), len(reached), means)
