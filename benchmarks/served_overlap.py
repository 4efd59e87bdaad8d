"""Share of a step that waits for a served teacher, by the parts in which its responses are sampled.

    python -m benchmarks.served_overlap --output benchmarks/results/served_overlap.json

Sampling, scoring and the rest of a step are sleeps, so that other work on the machine changes little; the queue between
them is the trainer's own. Scoring takes as long as sampling. A server either computes, so that half the responses take
half the time, or is far away, so that any number of them takes as long as one. Sampling either computes too, as with
long or many responses, or is bound by reading the weights, so that half the responses take as long as all.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from crossdistill.distill.background import Answers, BackgroundScorer
from crossdistill.runs.run_file import write_json
from crossdistill.teachers import TeacherRequest, TeacherScore

PARTS = (1, 2, 4, 8, 16)
RESPONSES = 64
REST = 0.3
"""Student's own scores, backward pass and optimizer: a share of the time of sampling."""
STUDENT = 0.07
"""Of the student's own scores alone, during which the teacher scores too."""


def step(seconds: float, parts: int, server_computes: bool, sampling_computes: bool) -> dict[str, float]:
    """Run one step: the share of it that nothing but the teacher takes, and its length by that of sampling at once."""

    def score(requests: Sequence[TeacherRequest]) -> Answers:
        time.sleep(seconds * (len(requests) / RESPONSES if server_computes else 1))
        return [TeacherScore(np.zeros(1, np.float32), None) for _ in requests]

    scorer, answers = BackgroundScorer(score), []
    began = time.monotonic()
    for _ in range(parts):
        time.sleep(seconds / parts if sampling_computes else seconds)
        answers.append(scorer.submit([TeacherRequest([1], [2], False)] * (RESPONSES // parts)))
    time.sleep(seconds * STUDENT)
    waits = time.monotonic()
    for answer in answers:
        answer()
    trains = time.monotonic()
    time.sleep(seconds * (REST - STUDENT))
    scorer.cancel()
    took = time.monotonic() - began
    return {"waiting_share": round((trains - waits) / took, 3), "length": round(took / seconds, 2)}


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Of sampling, and of scoring.")] = 2.0,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure each kind of server and of sampling."""
    kinds = {
        "a server that computes": (True, True),
        "a server far away": (False, True),
        "a server that computes, sampling bound by the weights": (True, False),
    }
    found: dict[str, Any] = {
        name: {str(parts): step(seconds, parts, *kind) for parts in PARTS} for name, kind in kinds.items()
    }
    table = Table("parts", *map(str, PARTS))
    for name, steps in found.items():
        table.add_row(name, *(f"{one['waiting_share']:.0%} of {one['length']:.1f}" for one in steps.values()))
    Console().print(table)
    if output is not None:
        write_json(output, {"command": "python -m benchmarks.served_overlap", "steps": found})


if __name__ == "__main__":
    typer.run(main)
