"""The objectives that are compared: every one of the registry, credits, and variants that tell causes apart."""

from crossdistill.credit import METHODS
from crossdistill.objectives import Objective, available, get

ONE_VOCABULARY_ONLY = frozenset({"gkd"})
"""Methods for two models of one vocabulary."""
OPTIONS: dict[str, dict[str, object]] = {
    "alm, tau 1": {"name": "alm", "tau": 1.0},
    "alm, not debiased": {"name": "alm", "debias": False},
    "bpm, reverse": {"name": "bpm", "divergence": "reverse"},
    "bpm, forward": {"name": "bpm", "divergence": "forward"},
    "cdm, exact spelling alone": {"name": "cdm", "max_distance": 0.0},
    "gold, reverse": {"name": "gold", "beta": 1.0},
    "shared_vocab, forward": {"name": "shared_vocab", "divergence": "forward"},
    "strict, forward": {"name": "strict", "divergence": "forward"},
    "bpm at 1:1 chunks": {"name": "benchmarks.causes.variants:BPMAt", "places": "one_to_one"},
    "bpm at chunk starts": {"name": "benchmarks.causes.variants:BPMAt", "places": "starts"},
    "strict + rest": {"name": "benchmarks.causes.variants:SharedWithRest", "one_to_one": True},
    "shared_vocab + rest": {"name": "benchmarks.causes.variants:SharedWithRest"},
    "strict, half or more": {
        "name": "benchmarks.causes.variants:SharedWithRest",
        "one_to_one": True,
        "rest": False,
        "least_mass": 0.5,
    },
    "shared_vocab, half or more": {
        "name": "benchmarks.causes.variants:SharedWithRest",
        "rest": False,
        "least_mass": 0.5,
    },
}
"""Label -> options of an objective that differ from its defaults."""

AT_REST = ("bpm, reverse", "cdm, exact spelling alone", "shared_vocab, forward", "shared_vocab, half or more")
"""Variants that are also followed until they rest, beside all of the registry."""


def labels() -> list[str]:
    """Names of all methods that are compared.

    Without those that compare the responses of a group: gvpo's expectation is the exact gradient of the target
    (tests/benchmarks/test_gradient_direction.py), the control of module `toy`.
    """
    credits = [f"dpca, {credit}" for credit in METHODS if credit != "semantic_prior"]
    return [*(name for name in available() if not get(name).compares_groups), *credits, *OPTIONS]


def method(label: str) -> Objective:
    """A new objective; one of its own for each use, as bld keeps the heads that it has attached."""
    if label.startswith("dpca, "):
        return get("dpca", credit=label.removeprefix("dpca, "))
    options = dict(OPTIONS.get(label, {"name": label}))
    return get(str(options.pop("name")), **options)
