"""What it cost a method's runs to reach an accuracy on validation problems."""

from collections.abc import Sequence
from typing import Any

from crossdistill.arena.outcome import Outcome
from crossdistill.eval.comparison.reach import COSTS, Point, cost_to_reach
from crossdistill.eval.interval import mean_interval

REACH_COSTS = ("responses", "student_tokens", "flops", "seconds")


def steps_of(outcome: Outcome) -> int | None:
    """Steps of a run, by the last point of its curve; None without one after the start."""
    return max((point["step"] for point in outcome.curve), default=0) or None


def reached_by(outcomes: Sequence[Outcome], accuracy: float) -> dict[str, Any] | None:
    """The mean cost to reach an accuracy over the runs of a method, with its interval over seeds.

    Args:
        outcomes: of the runs that are done.
        accuracy: to reach.

    Returns:
        ``accuracy``, ``state`` ("reached", "reached by some", "not reached"), ``num_runs``, ``num_reached``, and the
        mean of each of REACH_COSTS: None unless all runs reached it, since a mean over those that did would favour a
        method that fails often. None if no run has a curve.
    """
    with_curve = [outcome for outcome in outcomes if outcome.curve]
    if not with_curve:
        return None
    found = [_costs(outcome, accuracy) for outcome in with_curve]
    reached = [costs for costs in found if costs is not None]
    states = {0: "not reached", len(found): "reached"}
    everyone = reached if len(reached) == len(found) else []
    return {
        "accuracy": accuracy,
        "state": states.get(len(reached), "reached by some"),
        "num_runs": len(found),
        "num_reached": len(reached),
        **{key: _mean(everyone, key) for key in REACH_COSTS},
    }


def _costs(outcome: Outcome, accuracy: float) -> dict[str, float] | None:
    curve = sorted(outcome.curve, key=lambda point: int(point["step"]))
    points = [
        Point(point["mean"], None, {key: point[key] for key in COSTS if point.get(key) is not None}) for point in curve
    ]
    costs, steps = cost_to_reach(points, accuracy), steps_of(outcome)
    if costs is None or steps is None:
        return costs
    return {**costs, "responses": costs["step"] * outcome.responses / steps}  # as many at each step


def _mean(runs: Sequence[dict[str, float]], key: str) -> dict[str, Any] | None:
    values = [run[key] for run in runs if key in run]
    return mean_interval(values).as_dict() if values and len(values) == len(runs) else None
