"""Times whole training steps, part by part: ours, and TRL's trainers at the same settings.

python -m benchmarks.steps demo --output benchmarks/results/steps_demo.json
python -m benchmarks.steps models/smollm2-135m-instruct models/gemma-3-270m --methods dpca,gold --new-tokens 64

Every response has the same number of tokens, because its end is forbidden while it is sampled. Methods take turns,
and the table shows medians over all steps but each run's first. Seconds are those of the processor: with one thread
the time of an idle machine; ``--wall`` takes the clock on the wall, for several threads.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.inputs import check_file, refusals
from benchmarks.steps.parts import watched
from benchmarks.steps.step_seconds import StepSeconds
from benchmarks.steps.stopwatch import Stopwatch
from benchmarks.steps.trainers import GOLD, TRL, Case, made
from crossdistill import objectives
from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.report.versions import versions
from crossdistill.runs.run_file import write_json


def steps_of(method: str, case: Case, clock: Callable[[], float]) -> list[dict[str, float]]:
    """Train, and return the seconds of each counted step's parts.

    Args:
        method: GOLD, TRL, or the name of an objective.
        case: what is run.
        clock: seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer, student, teacher = made(method, case, Path(folder))
        watch = Stopwatch(clock)
        steps = StepSeconds(watch)
        trainer.add_callback(steps)
        whole = _whole_responses(type(student).generate, case.new_tokens)
        with patch.object(type(student), "generate", whole), watched(watch, trainer, student, teacher):
            trainer.train()
    return steps.steps[1:]


def _whole_responses(generate: Callable[..., Any], new_tokens: int) -> Callable[..., Any]:
    """A model's ``generate`` that ends no response early."""

    def whole(*args: Any, **kwargs: Any) -> Any:
        return generate(*args, **kwargs, min_new_tokens=new_tokens)

    return whole


def summary(steps: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over steps: seconds of the whole and of each part, and the share of the rest."""
    totals = [sum(step.values()) for step in steps]
    names = sorted({name for step in steps for name in step})
    return {
        "steps": len(steps),
        "seconds": statistics.median(totals),
        "range": [min(totals), max(totals)],
        "parts": {name: statistics.median([step.get(name, 0.0) for step in steps]) for name in names},
        "rest": statistics.median([step["rest"] / total for step, total in zip(steps, totals, strict=True)]),
    }


def table_of(rows: dict[str, dict[str, Any]]) -> Table:
    """Milliseconds of each part, and its share of a step."""
    table = Table(title="a step's parts: ms, and share of the step")
    table.add_column("part")
    for method in rows:
        table.add_column(method, justify="right")
    names = sorted({name for row in rows.values() for name in row["parts"]})
    for name in names:
        table.add_row(name, *(_cell(row, row["parts"].get(name, 0.0)) for row in rows.values()))
    table.add_row("whole step", *(f"{1000 * row['seconds']:,.0f}" for row in rows.values()))
    return table


def _cell(row: dict[str, Any], seconds: float) -> str:
    return f"{1000 * seconds:,.1f}  {seconds / row['seconds']:6.1%}"


def methods_of(text: str) -> list[str]:
    """The methods that an option names.

    Raises:
        InputError: one is unknown.
    """
    methods = text.split(",")
    for method in methods:
        if method not in (GOLD, TRL):
            objectives.get(method)
    return methods


def check_model(folder: str) -> None:
    """Refuse what is no model's folder.

    Raises:
        InputError: it has no ``config.json``.
    """
    if not (Path(folder) / "config.json").is_file():
        raise InputError(f"{folder} is not the folder of a model, which has a config.json: name one, or 'demo'.")


def main(
    student: Annotated[str, typer.Argument(help="A folder, or 'demo' for the demo's pair.")],
    teacher: Annotated[str | None, typer.Argument(help="A folder; the student's own if left out.")] = None,
    methods: Annotated[str, typer.Option(help="Objectives, 'gold' and 'trl', separated by commas.")] = "dpca",
    batch: Annotated[int, typer.Option(min=1, help="Responses of a step.")] = 4,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a response.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a run that are counted.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each method, in turns.")] = 2,
    wall: Annotated[bool, typer.Option("--wall", help="Take the time of the wall clock.")] = False,
    output: Annotated[Path | None, typer.Option(help="File of the figures.")] = None,
) -> None:
    """Time whole steps, part by part."""
    is_demo = student == "demo"
    pair = (asset("student"), asset("teacher")) if is_demo else (student, teacher or student)
    with refusals():
        found: dict[str, list[dict[str, float]]] = {method: [] for method in methods_of(methods)}
        for folder in pair:
            check_model(folder)
        if output is not None:
            check_file("--output", output)
    case = Case(*pair, batch=64 if is_demo else batch, new_tokens=48 if is_demo else new_tokens, steps=steps)
    for _ in range(rounds):
        for method in found:
            found[method] += steps_of(method, case, time.perf_counter if wall else time.process_time)
    rows = {method: summary(taken) for method, taken in found.items()}
    Console().print(table_of(rows))
    if output is not None:
        setting = {"student": Path(pair[0]).name, "teacher": Path(pair[1]).name, "batch": case.batch}
        setting |= {"new_tokens": case.new_tokens, "threads": torch.get_num_threads(), "rounds": rounds}
        setting["clock"] = "wall" if wall else "processor"
        write_json(output, {"setting": setting, "versions": versions(), "methods": rows})


if __name__ == "__main__":
    typer.run(main)
