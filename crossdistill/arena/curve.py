"""The validation accuracy of a method in training, over its seeds."""

from collections.abc import Sequence
from typing import Any

from crossdistill.arena.outcome import Outcome
from crossdistill.arena.reaching import steps_of
from crossdistill.eval.interval import mean_interval

_COSTS = ("student_tokens", "flops", "seconds")


def mean_curve(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The mean curve of runs that differ in their seed.

    Only steps that all curves have are kept: a mean over other runs at each step would move by who is in it.

    Args:
        outcomes: of the runs that are done.

    Returns:
        Points with ``step``, ``responses`` (in so many steps), ``mean``, ``ci`` and ``n`` over seeds, and the mean
        costs; none if a run has no curve, or if there is no run.
    """
    by_step = [{int(point["step"]): point for point in outcome.curve} for outcome in outcomes]
    shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
    return [_point(step, outcomes, [points[step] for points in by_step]) for step in shared]


def _point(step: int, outcomes: Sequence[Outcome], points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    responses = [step * outcome.responses / (steps_of(outcome) or 1) for outcome in outcomes]
    return {
        "step": step,
        "responses": sum(responses) / len(responses),
        **mean_interval([point["mean"] for point in points]).as_dict(),
        **{key: mean_of([point.get(key) for point in points]) for key in _COSTS},
    }


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None if there are no values, or if one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
