"""Whole steps and whole commands."""

import time

from benchmarks import startup
from benchmarks.check.case import TIME, Case
from benchmarks.steps.__main__ import steps_of, summary
from benchmarks.steps.trainers import Case as Steps
from crossdistill.demo.run import asset

RUNS = {"import crossdistill": 15, "crossdistill train --keys": 3, "crossdistill align": 3}
"""Starts of each command; the short ones are disturbed the most."""
REFERENCE = "import numpy"


def cases() -> list[Case]:
    """All of this file."""
    return [
        Case("a step of the demo: share of what is no model, sampling or optimizer", TIME, _rest),
        *(Case(f"{name}: time beside {REFERENCE}", TIME, lambda name=name: _start(name)) for name in RUNS),
    ]


def _rest() -> float:
    case = Steps(asset("student"), asset("teacher"), batch=64, new_tokens=48, steps=4)
    return float(summary(steps_of("dpca", case, time.process_time))["rest"])


def _start(name: str) -> float:
    """The fastest of some starts by turns."""
    found = [[startup.cpu_seconds(startup.CASES[one]) for one in (name, REFERENCE)] for _ in range(RUNS[name])]
    ours, reference = (min(side) for side in zip(*found, strict=True))
    return ours / reference
