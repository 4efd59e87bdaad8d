"""Several processes against one: losses, and the gradient of every parameter."""

from itertools import pairwise
from typing import NamedTuple

import torch

from tests.engines.launch import Outcome


class Difference(NamedTuple):
    """The largest relative difference of a step's loss, and of a parameter's gradient, and the step and parameter.

    A gradient's is that of its elements, relative to its largest one, or to a hundredth of the largest of all
    parameters if that is more. What the rounding of the weights, from which it is read off, explains is taken off.
    """

    loss: float
    gradient: float
    where: str


def difference(one: Outcome, other: Outcome) -> Difference:
    """How far two trainings of the same case are apart."""
    assert [step["step"] for step in one.steps] == [step["step"] for step in other.steps]
    assert one.weights.keys() == other.weights.keys()
    losses = zip((step["loss"] for step in one.steps), (step["loss"] for step in other.steps), strict=True)
    largest, where = max(
        (gap, f"{name} in step {step}")
        for before, step in pairwise(one.weights)
        for name, gap in _gaps(one.weights[before], one.weights[step], other.weights[before], other.weights[step])
    )
    return Difference(max(abs(ours - theirs) / abs(ours) for ours, theirs in losses), largest, where)


Weights = dict[str, torch.Tensor]


def _gaps(before: Weights, after: Weights, before_other: Weights, after_other: Weights) -> list[tuple[str, float]]:
    assert before.keys() == after.keys() == before_other.keys() == after_other.keys()
    changes = {name: after[name] - before[name] for name in after}
    largest = max(float(change.abs().max()) for change in changes.values())
    assert largest > 0
    gaps = []
    for name, change in changes.items():
        gap = (change - (after_other[name] - before_other[name])).abs() - 4 * 2**-24 * after[name].abs()
        gaps.append((name, float(gap.max()) / max(float(change.abs().max()), 0.01 * largest)))
    return gaps
