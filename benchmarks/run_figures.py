"""Figures of finished runs, from their run.json: gap before and after, time shares of a step, coverage.

python benchmarks/run_figures.py runs/first runs/second --output benchmarks/results/runs.json
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from crossdistill.runs.run_file import read_run, write_json

Z95 = 1.96
OVERHEAD = ("align", "render", "credit")  # the parts of a step that exist because the tokenizers differ


def step_shares(history: list[dict[str, Any]]) -> dict[str, float]:
    """Each part's share of the time of all training steps; the optimisation step takes the rest."""
    rows = [row for row in history if "seconds/total" in row]
    total = sum(row["seconds/total"] for row in rows)
    parts = ("rollout", "student", "teacher", *OVERHEAD)
    return {part: sum(row.get(f"seconds/{part}", 0.0) for row in rows) / total for part in parts}


def figures(folder: Path) -> dict[str, Any]:
    """The figures of one run."""
    run = read_run(folder)
    shares = step_shares(run["history"])
    gaps = [
        (row["step"], row["eval_teacher_gap"], row["eval_teacher_gap_se"])
        for row in run["history"]
        if "eval_teacher_gap" in row
    ]
    return {
        "run": folder.name,
        "student": Path(run["student"]).name,
        "teacher": Path(run["teacher"]).name,
        "seed": run["seed"],
        "metric": run.get("metric"),
        "metrics": run.get("metrics"),
        "held_out_gap": gaps,
        "training_gap": [(row["step"], row["teacher_gap"]) for row in run["history"] if "teacher_gap" in row],
        "shares": shares,
        "alignment_rendering_credit": sum(shares[part] for part in OVERHEAD),
        "coverage": run["coverage"],
        "seconds": run["seconds"],
        "versions": run["versions"],
        "config": {"train": run["config"]["train"], "lora": run["config"]["lora"]},
        "control": run.get("control"),
        "demo_seconds": run.get("demo_seconds"),
    }


def draw_gap(row: dict[str, Any], path: Path) -> None:
    """Draw the teacher gap as an SVG: on training batches, and on held-out prompts with its 95 % interval."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axes.plot(*zip(*row["training_gap"], strict=True), color="0.6", linewidth=1, label="training batches")
    before = row["metrics"]["before"]
    points = [(0, before["mean"], (before["ci"][1] - before["mean"]) / Z95), *row["held_out_gap"]]
    steps, means, errors = zip(*points, strict=True)
    axes.errorbar(steps, means, [Z95 * error for error in errors], fmt="o", capsize=3, label="held-out, 95 % interval")
    axes.set(xlabel="step", ylabel="teacher gap, nats per byte", title=f"{row['student']} under {row['teacher']}")
    axes.set_ylim(bottom=0)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main(
    folders: Annotated[list[Path], typer.Argument(help="Output folders of finished runs.")],
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    curves: Annotated[Path | None, typer.Option(help="Also draw the gap of each run, into this folder.")] = None,
) -> None:
    """Print the figures of finished runs."""
    rows = [figures(folder) for folder in folders]
    table = Table("run", "before", "after", "supervised bytes", "align+render+credit", "seconds")
    for row in rows:
        metrics, coverage = row["metrics"] or {}, row["coverage"]
        shown = [f"{metrics[k]['mean']:.4f} {metrics[k]['ci']}" if k in metrics else "" for k in ("before", "after")]
        supervised = f"{coverage['supervised_bytes']} of {coverage['sampled_bytes']}"
        table.add_row(
            row["run"], *shown, supervised, f"{row['alignment_rendering_credit']:.2%}", f"{row['seconds']:.0f}"
        )
    Console().print(table)
    if output is not None:
        write_json(output, rows)
    if curves is not None:
        for row in rows:
            draw_gap(row, curves / f"{row['run']}.svg")


if __name__ == "__main__":
    typer.run(main)
