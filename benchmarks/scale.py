"""Time of a training step under DDP, FSDP2, ZeRO-2 and ZeRO-3, with more and more processes.

OMP_NUM_THREADS=1 python -m benchmarks.scale --output benchmarks/results/scale.json      # or make bench-scale
python -m benchmarks.scale --student FOLDER --teacher FOLDER --batch 128                 # on GPUs

A step has the same number of responses whatever the number of processes, which share them. Each launch trains a few
steps after a warm-up, started with ``accelerate launch`` and the recipes; the launches take turns, round by round, and
medians are shown. With GPUs there are as many processes as devices at most, on a CPU two. DeepSpeed is left out if it
is not installed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from crossdistill.report.versions import versions
from crossdistill.runs.run_file import write_json

RECIPES = Path(__file__).parents[1] / "recipes" / "accelerate"
ENGINES = ("ddp", "fsdp2", "zero2", "zero3")
TIMEOUT_S = 3600.0
Launch = tuple[str, int]
"""An engine, and a number of processes."""


def launches(num_devices: int, has_deepspeed: bool) -> list[Launch]:
    """All engines with 1, 2, 4, ... processes.

    Example:
        >>> launches(2, has_deepspeed=False)
        [('ddp', 1), ('ddp', 2), ('fsdp2', 1), ('fsdp2', 2)]
    """
    engines = [engine for engine in ENGINES if has_deepspeed or not engine.startswith("zero")]
    numbers = [2**power for power in range(num_devices.bit_length()) if 2**power <= num_devices]
    return [(engine, number) for engine in engines for number in numbers]


def run(launch: Launch, config: dict[str, Any]) -> dict[str, Any]:
    """The figures of one launch."""
    engine, number = launch
    dtype = "bf16" if torch.cuda.is_available() else "no"
    options = ["--num_processes", str(number), "--mixed_precision", dtype, "--main_process_port", "0"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(RECIPES / f"{engine}.yaml")]
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "config.json", Path(folder) / "figures.json"
        file.write_text(json.dumps({**config, "output": str(output)}))
        environment = {**os.environ, **({} if torch.cuda.is_available() else {"DS_ACCELERATOR": "cpu"})}
        done = subprocess.run(  # noqa: S603 - our own module
            [*launcher, *options, "-m", "benchmarks.scale_run", str(file)],
            env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{engine} on {number} processes failed:\n{done.stderr[-4000:]}")
        figures: dict[str, Any] = json.loads(output.read_text())
        return figures


def summary(launch: Launch, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the steps of all rounds, and the fastest and slowest step."""
    steps = [step for figures in rounds for step in figures["steps"]]
    totals = [step["seconds/total"] for step in steps]
    return {
        "engine": launch[0],
        "processes": launch[1],
        "step_seconds": median(totals),
        "fastest": min(totals),
        "slowest": max(totals),
        "parts": {name.split("/")[1]: median(step.get(name, 0.0) for step in steps) for name in steps[0]},
        "peak_gpu_bytes": rounds[-1]["peak_gpu_bytes"],
    }


def with_ratios(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows with their speed against one process of the same engine, and their time against DDP's.

    Example:
        >>> seconds = {("ddp", 1): 4.0, ("ddp", 2): 2.0, ("zero3", 1): 6.0, ("zero3", 2): 5.0}
        >>> rows = [{"engine": e, "processes": n, "step_seconds": s} for (e, n), s in seconds.items()]
        >>> [(row["speed_up"], row["times_ddp"]) for row in with_ratios(rows)]
        [(1.0, 1.0), (2.0, 1.0), (1.0, 1.5), (1.2, 2.5)]
    """
    seconds = {(row["engine"], row["processes"]): row["step_seconds"] for row in rows}
    for row in rows:
        engine, number = row["engine"], row["processes"]
        own = seconds[engine, number]
        yield {**row, "speed_up": seconds[engine, 1] / own, "times_ddp": own / seconds["ddp", number]}


def show(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("engine", "processes", "step, s", "fastest - slowest", "speed-up", "times DDP")
    for row in rows:
        spread = f"{row['fastest']:.2f} - {row['slowest']:.2f}"
        ratios = f"{row['speed_up']:.2f}", f"{row['times_ddp']:.2f}"
        table.add_row(row["engine"], str(row["processes"]), f"{row['step_seconds']:.2f}", spread, *ratios)
    return table


def main(
    student: Annotated[str, typer.Option(help="Folder of the student's model; the demo's by default.")] = "",
    teacher: Annotated[str, typer.Option(help="Folder of the teacher's model; the demo's by default.")] = "",
    objective: Annotated[str, typer.Option(help="The objective.")] = "dpca",
    batch: Annotated[int, typer.Option(min=1, help="Responses of a step, of all processes together.")] = 32,
    response_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the longest response.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a launch that are counted.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Launches of each kind.")] = 3,
    small: Annotated[bool, typer.Option(help="A few short steps, to see that it runs.")] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure how a training step scales."""
    console, num_devices = Console(), torch.cuda.device_count() or 2
    if small:
        batch, response_tokens, steps, rounds = num_devices, 8, 1, 1
    has_deepspeed = find_spec("deepspeed") is not None
    if not has_deepspeed:
        console.print("ZeRO-2 and ZeRO-3 are left out: pip install 'crossdistill[deepspeed]'", markup=False)
    config = {"student": student, "teacher": teacher, "objective": objective, "batch": batch, "steps": steps}
    config |= {"response_tokens": response_tokens}
    measured: dict[Launch, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for launch in launches(num_devices, has_deepspeed):
            console.print(f"round {number + 1}: {launch[0]}, {launch[1]} processes", markup=False)
            measured.setdefault(launch, []).append(run(launch, config))
    rows = list(with_ratios([summary(launch, figures) for launch, figures in measured.items()]))
    console.print(show(rows))
    if output is not None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"
        command = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python -m benchmarks.scale "
        command += " ".join(sys.argv[1:])
        engines = {name: metadata.version(name) for name in ("accelerate", "deepspeed") if find_spec(name)}
        machine = {"device": device, "versions": versions() | engines}
        write_json(output, {"command": command, "machine": machine, "config": config, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
