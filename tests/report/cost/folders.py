"""Folders of runs and evaluations, as they are written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from crossdistill.costs import Costs, Part
from crossdistill.flops import ModelFlops
from crossdistill.runs.run_file import write_json

STUDENT, TEACHER = ModelFlops(1_000_000), ModelFlops(5_000_000)
LENGTH = 100


def opd_run(
    folder: Path, data_points: int = 64, steps: int = 10, accuracy: Mapping[int, float] | None = None, **fields: Any
) -> Path:
    """A distillation of responses of LENGTH tokens; `accuracy` by step on gsm8k."""
    costs, rows = Costs(STUDENT, TEACHER), [LENGTH] * data_points
    for part in (Part.STUDENT_ROLLOUT, Part.STUDENT_SCORE, Part.STUDENT_STEP, Part.TEACHER_PREFILL):
        costs.add(part, rows)
    entries = [
        {"step": step, "mean": mean, "ci": [mean - 0.1, mean + 0.1], "n": 100, "student_tokens": 1, "flops": 1}
        for step, mean in (accuracy or {}).items()
    ]
    run = {
        "objective": "dpca",
        "student": str(folder.parent / "base"),
        "teacher": "teacher",
        "data_points": data_points,
        **costs.as_dict(),
        "seconds": 60.0,
        "flops_assumptions": [],
        "history": [{"step": step + 1, "loss": 1.0} for step in range(steps)],
        **({"accuracy": {"gsm8k": entries}} if entries else {}),
        **fields,
    }
    write_json(folder / "run.json", run)
    return folder


def sft_run(folder: Path, data_points: int = 64, **fields: Any) -> Path:
    """SFT on responses of a teacher."""
    costs = Costs(STUDENT, TEACHER)
    costs.add(Part.SFT_STEP, [LENGTH] * data_points)
    costs.add(Part.TEACHER_ROLLOUT, [LENGTH] * data_points)
    run = {
        "student": str(folder.parent / "base"),
        "teacher": "teacher",
        "num_examples": data_points,
        "data_points": data_points,
        **costs.as_dict(),
        "seconds": 30.0,
        "flops_assumptions": [],
        **fields,
    }
    write_json(folder / "run.json", run)
    return folder


def evaluation(folder: Path, model: str, results: Mapping[str, Sequence[Any]], **fields: Any) -> Path:
    """An evaluation on gsm8k; `results` by problem."""
    mean = fmean(fmean(map(bool, answers)) for answers in results.values())
    task = {
        "sampling": {"temperature": 0.6, "k": max(map(len, results.values()))},
        "digest": "problems",
        "metrics": {"avg@k": {"mean": mean, "ci": [mean - 0.1, mean + 0.1], "n": len(results)}},
        "per_problem": {name: list(map(bool, answers)) for name, answers in results.items()},
        **fields,
    }
    write_json(folder / "eval.json", {"kind": "evaluation", "model": model, "tasks": {"gsm8k": task}})
    return folder
