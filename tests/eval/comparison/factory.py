"""Folders of evaluations and training runs, as the commands write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SAMPLING = {
    **{"k": 1, "temperature": 0.0, "top_p": 1.0, "max_tokens": 2048, "seed": 0},
    **{"template_kwargs": {}, "system": None},
}
Verdicts = Mapping[str, Sequence[bool]]


def verdicts(accuracy: float, num_problems: int = 60, k: int = 1, seed: int = 0) -> dict[str, list[bool]]:
    """Right with that probability; models of one seed have luck on the same problems."""
    luck = np.random.default_rng(seed).random((num_problems, k))
    return {str(number): (row < accuracy).tolist() for number, row in enumerate(luck)}


def entry(correct: Verdicts, digest: str = "d0", **changed: Any) -> dict[str, Any]:
    """A task's entry of ``eval.json``; `changed` are settings of the sampling."""
    k = len(next(iter(correct.values())))
    mean = float(np.mean([np.mean(given) for given in correct.values()]))
    return {
        "sampling": {**SAMPLING, "k": k, **changed},
        **{"source": "some/set", "limit": None, "seed": 0, "num_problems": len(correct), "digest": digest},
        "metrics": {"avg@k": {"mean": mean, "ci": None, "n": len(correct)}},
        "per_problem": dict(correct),
        **{"tokens": 1000, "seconds": 5.0, "flops": None},
    }


def write_evaluation(folder: Path, tasks: Mapping[str, dict[str, Any]], model: str | None = None) -> Path:
    """An evaluation's folder."""
    folder.mkdir(parents=True)
    record = {"kind": "evaluation", "model": model or str(folder), "created": "2026-01-01T00:00:00", "tasks": tasks}
    (folder / "eval.json").write_text(json.dumps(record))
    return folder


def write_training(
    folder: Path, by_step: Mapping[int, Verdicts], seed: int = 0, student: str = "a/student", **config: Any
) -> Path:
    """The folder of a training run that evaluated its student on the task "sums"; `config` are keys of its run file."""
    points = []
    for step, correct in by_step.items():
        of_task = entry(correct)
        write_evaluation(folder / "evaluations" / f"step-{step:06d}", {"sums": of_task}, f"{folder}, step {step}")
        mean = of_task["metrics"]["avg@k"]["mean"]
        costs = {"student_tokens": 1000 * step, "flops": 10**12 * step, "seconds": 2.0 * step}
        points.append({"step": step, "mean": mean, "ci": [mean - 0.1, mean + 0.1], "n": len(correct), **costs})
    config = {"student": student, "objective": "dpca", **config, "train": {"learning_rate": 1e-4, "seed": seed}}
    run = {"student": student, "seed": seed, "config": config, "accuracy": {"sums": points}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder
