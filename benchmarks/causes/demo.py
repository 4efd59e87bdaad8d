"""Gradients and drift of every objective on the demo's pair.

OMP_NUM_THREADS=1 python -m benchmarks.causes.demo --output benchmarks/results/gradient_direction_demo.json

Each part is written as soon as it is there. Hidden: what the teacher means and has no shared entry for. First batches:
the gradient of each objective on the same rollouts, its norm before the trainer's clip, and cosines between batches and
between methods. Runs: short trainings at several rates and with and without the clip, with the student's surprisal at
the teacher's own responses by kind of token. Everything is drawn from seeds.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.causes.demo_pair import DemoPair, gradient, sample, scored
from benchmarks.causes.drift import Reference, Training, check
from benchmarks.causes.hidden import favourites, hidden_entries
from benchmarks.causes.methods import ONE_VOCABULARY_ONLY, labels, method
from crossdistill.demo.task import Problem, problems
from crossdistill.runs.run_file import write_json

REFERENCES = ("dpca", "bpm, reverse")


def first_batches(pair: DemoPair, methods: Sequence[str], prompts: Sequence[Problem], size: int) -> dict[str, Any]:
    """The gradient of each method on batches of `size` rollouts of the student at the start, and on all together."""
    torch.manual_seed(0)
    groups = [prompts[k : k + size] for k in range(0, len(prompts), size)]
    sampler = pair.distiller("dpca")
    responses = [sample(sampler, group) for group in groups]
    means, figures = {}, {}
    for name in methods:
        distiller = pair.distiller(method(name), pair.student())
        rows = [gradient(distiller, scored(distiller, *part)) for part in zip(groups, responses, strict=True)]
        means[name], figures[name] = torch.stack(rows).mean(0), _of_batches(rows)
    for name, reference in itertools.product(means, REFERENCES):
        figures[name][f"cosine_with_{reference}"] = cosine(means[name], means[reference])
    return {"batch_size": size, "batches": len(groups), "methods": figures}


def _of_batches(rows: list[Tensor]) -> dict[str, float]:
    mean = torch.stack(rows).mean(0)
    noise = torch.stack([(row - mean).square().sum() for row in rows]).sum() / (len(rows) - 1)
    signal = (mean.square().sum() - noise / len(rows)).clamp(min=0)
    halves = [torch.stack(rows[first::2]).mean(0) for first in (0, 1)]
    return {
        "norm_of_a_batch": float(torch.stack([row.norm() for row in rows]).mean()),
        "norm_of_all": float(mean.norm()),
        "noise_over_signal": float((noise / signal).sqrt()) if signal else float("inf"),
        "cosine_of_halves": cosine(*halves),
    }


def cosine(one: Tensor, other: Tensor) -> float:
    """0 if one of them is 0."""
    norms = float(one.norm() * other.norm())
    return float(one @ other) / norms if norms else 0.0


LONG = "1e-4, 80 steps"
SETTINGS = {
    "3e-4": Training(),
    LONG: Training(rate=1e-4, steps=80, check_at=(20, 40, 60, 80)),
    "3e-4, no clip": Training(max_norm=0.0),
    "1e-3": Training(rate=1e-3),
}
"""The runs of each method, by name."""


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def main(
    output: Annotated[Path, typer.Option(help="The JSON file; runs that it has are not repeated.")],
    names: Annotated[str, typer.Option(help="Methods, by semicolons; by default all.")] = "",
    chosen_settings: Annotated[str, typer.Option("--settings", help="Names, by semicolons; by default all.")] = "",
    seeds: Annotated[int, typer.Option(help="Runs of each method and setting.")] = 1,
    batches: Annotated[int, typer.Option(help="Batches of 64 for the gradients at the start.")] = 32,
    num_problems: Annotated[int, typer.Option(help="Held-out problems.")] = 100,
) -> None:
    """Measure the demo's pair."""
    console, pair = Console(), DemoPair.load()
    chosen, wanted = listed(names) or labels(), listed(chosen_settings) or list(SETTINGS)
    chosen = [name for name in chosen if name not in ONE_VOCABULARY_ONLY]
    found: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {"runs": {}}
    found["command"] = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python -m benchmarks.causes.demo "
    found["command"] += " ".join(sys.argv[1:])
    train = problems("train", 8192, seed=100)
    known = found.setdefault("first_batches", {"methods": {}})["methods"]
    missing = [name for name in chosen if name not in known]
    if missing:
        fresh = first_batches(pair, list(dict.fromkeys([*REFERENCES, *missing])), train[: 64 * batches], 64)
        found["first_batches"] = fresh | {"methods": known | fresh["methods"]}
        write_json(output, found)
    reference = Reference.of(pair, problems("test", num_problems, seed=1))
    torch.manual_seed(0)
    found["hidden"] = hidden_entries(pair, train[:256])
    found["favourites"] = favourites(pair, train[:256])
    found["start"] = check(pair, pair.start, reference)
    for seed, setting, name in itertools.product(range(seeds), wanted, chosen):
        key, training = f"{name} | {setting} | seed {seed}", SETTINGS[setting]
        if key in found["runs"]:
            continue
        began = time.perf_counter()
        prompts = problems("train", training.steps * training.batch_size, seed=200 + seed)
        run = training.run(pair, method(name), prompts, reference, seed)
        found["runs"][key] = run | {"seconds": time.perf_counter() - began}
        write_json(output, found)
        last = run["checks"][-1]
        console.print(f"{key}: {last['exact_match']:.1%}, stops {last['greedy_stop_rate']:.2f}, {last['surprisal']}")


if __name__ == "__main__":
    typer.run(main)
