"""Several processes against one: losses, and the gradient of every parameter."""

import itertools
from typing import Any

from tests.engines.launch import Outcome

LOGGED = ("loss", "teacher_gap", "coverage", "token_coverage", "stopped", "response_tokens", "entropy")


def differences(one: Outcome, other: Outcome) -> dict[str, Any]:
    """The largest relative difference of the logged losses, and of any parameter's gradient.

    A gradient's difference is its largest element's, relative to the largest element of that gradient in the step, or
    of the 1e-2nd part of the largest of all parameters, below which there is only rounding.
    """
    assert [step["step"] for step in one.steps] == [step["step"] for step in other.steps]
    losses = [
        abs(a["loss"] - b["loss"]) / max(abs(a["loss"]), 1e-6) for a, b in zip(one.steps, other.steps, strict=True)
    ]
    assert one.weights.keys() == other.weights.keys()
    largest, where = 0.0, ""
    numbers = list(one.weights)
    for before, after in itertools.pairwise(numbers):
        ours, theirs = ({n: w[after][n] - w[before][n] for n in w[after]} for w in (one.weights, other.weights))
        assert ours.keys() == theirs.keys()
        scale = max(float(change.abs().max()) for change in ours.values())
        assert scale > 0
        for name, change in ours.items():
            size = max(float(change.abs().max()), 1e-2 * scale)
            gap = float((change - theirs[name]).abs().max()) / size
            if gap > largest:
                largest, where = gap, f"{name} in step {after}"
    return {"loss": max(losses), "gradient": largest, "where": where}
