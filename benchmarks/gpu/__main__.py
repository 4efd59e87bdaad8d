"""Losses and training steps on one GPU, part by part, within a budget of time: ``make bench-gpu``.

python -m benchmarks.gpu --output benchmarks/results/objectives_gpu.json
python -m benchmarks.gpu --device cpu --small --output FILE      # the same code in a minute: that it runs

1. The bare rate of the products with both output layers in bfloat16, at several numbers of tokens.
2. All dense objectives, and the log-probabilities on which the others rest: time, memory beyond what was there, and the
   share of the bare rate. Beside them TRL's GOLD, and fused kernels of others that do the same work
   (:mod:`benchmarks.gpu.peers`).
3. A training step of a pair of random weights (0.5 and 1.5 billion parameters) by its parts, with rollouts by
   transformers and by vLLM, and its peak memory.
4. Some of 2 with larger tiles, which tells whether a tile or the code is slow.

A part is a process, and its figures are kept in the --work folder as they come: the command goes on where it was
stopped, and refuses to mix figures of other settings or of another state of the code. What fails or takes too long
costs its own figures alone. Nothing is downloaded. The exit code is 0 if all targets are met, 1 if one is missed or
cannot be judged, 2 for settings that cannot work, and 3 if the budget was spent before everything was measured: then
run it again. With --small no target is judged, and 1 says that something has failed.
"""

import hashlib
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.gpu.plan import FULL, RATE, SMALL, Part, parts, setting_of
from benchmarks.gpu.record import Record
from benchmarks.gpu.supervision import ROOT, Supervisor
from benchmarks.gpu.tables import missed_lines, table_of
from benchmarks.gpu.targets import MET, MISSED, verdicts, without_figures
from benchmarks.inputs import check_file, check_folder, refusals
from crossdistill.errors import InputError
from crossdistill.report.versions import versions
from crossdistill.runs.run_file import write_json

BUDGET_MINUTES = 25.0
WORK = Path("runs/bench-gpu")
MISSED_CODE, STOPPED_CODE = 1, 3


def check_device(device: str, small: bool) -> None:
    """Refuse what cannot work.

    Raises:
        InputError: there is no such device, or it is too slow.
    """
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device is cuda or cpu, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU here: --device cpu --small runs the same code in a minute.")
    if device == "cpu" and not small:
        raise InputError("these sizes take a CPU days: give --small, or a GPU.")


def check_budget(record: Record, todo: list[Part], minutes: float) -> None:
    """Refuse a budget with which the command would not get on however often it is run.

    Raises:
        InputError: the part that is next takes longer alone.
    """
    part = next((one for one in todo if record.missing(one)), None)
    if part is not None and 60 * minutes < part.seconds:
        raise InputError(
            f"--budget-minutes {minutes:g} is not enough for the next part, {part.name}, which takes about "
            f"{part.seconds / 60:.1f}: give at least that."
        )


def settings_of(device: str, small: bool) -> dict[str, Any]:
    """All that figures of one table must have in common."""
    scale = SMALL if small else FULL
    files = [file for folder in ("crossdistill", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]
    name = "CPU" if device == "cpu" else torch.cuda.get_device_name()
    return {
        "device": name,
        "scale": asdict(scale),
        "losses": asdict(setting_of(scale, device)),
        "versions": versions() | ({} if device == "cpu" else {"cuda": str(torch.version.cuda)}),
        "source": hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16],
    }


def run(record: Record, todo: list[Part], device: str, small: bool, minutes: float, output: Path) -> bool:
    """Measure what is missing, in order; False if the budget was spent before the end."""
    console = Console()
    left = [part for part in todo if record.missing(part)]
    expected = sum(part.seconds for part in left) / 60
    console.print(f"{len(left)} of {len(todo)} parts to measure: about {expected:.0f} minutes, at most {minutes:g}")
    supervisor = Supervisor(record, device, small, time.time() + 60 * minutes)
    with supervisor.stopped_by_signals():
        for part in todo:
            if record.missing(part) and supervisor.seconds_left < part.seconds:
                console.print(f"{part.name}: takes about {part.seconds / 60:.1f} minutes, which are not left")
                return False
            in_time = supervisor.run(part)
            merged = record.merged(todo)
            write_json(output, merged)
            console.print(table_of(merged["parts"][part.name], bare_rates(merged["parts"])))
            if not in_time:
                return False
    return True


def bare_rates(found: dict[str, Any]) -> dict[str, float]:
    """FLOP a second, by the sizes of both output layers."""
    cells = [item for part in found.values() if part["kind"] == RATE for item in part["cells"].items()]
    return {cell: one["rate"] for cell, one in cells if one["status"] == "ok"}


def main(
    output: Annotated[Path, typer.Option(help="The merged figures, written after each part.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    small: Annotated[bool, typer.Option(help="Tiny sizes, which show that it runs and judge nothing.")] = False,
    work: Annotated[Path, typer.Option(help="Folder of the parts' figures and of the models.")] = Path(
        "runs/bench-gpu"
    ),
    budget_minutes: Annotated[float, typer.Option(min=0, help="After which it stops, to go on when run again.")] = (
        BUDGET_MINUTES
    ),
) -> None:
    """Measure losses and training steps on a GPU."""
    console = Console()
    with refusals():
        check_device(device, small)
        todo = parts(SMALL if small else FULL, device)
        check_file("--output", output)
        check_folder("--work", work)
        record = Record(work, settings_of(device, small))
        check_budget(record, todo, budget_minutes)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    is_complete = run(record, todo, device, small, budget_minutes, output)
    merged = record.merged(todo)
    judged = verdicts(merged["parts"], setting_of(FULL, device).dtype)
    write_json(output, merged | {"complete": is_complete, "targets": [asdict(one) for one in judged]})
    for line in missed_lines(judged):
        console.print(line, markup=False, soft_wrap=True)
    if not is_complete:
        console.print("not everything was measured: run the same command again")
        raise typer.Exit(STOPPED_CODE)
    if small:
        console.print("small sizes: no target is judged")
        is_good = all(one.verdict != MISSED for one in without_figures(merged["parts"]))
    else:
        is_good = all(one.verdict == MET for one in judged)
    if not is_good:
        raise typer.Exit(MISSED_CODE)


if __name__ == "__main__":
    typer.run(main)
