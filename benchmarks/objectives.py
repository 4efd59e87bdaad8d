"""Time and peak extra memory of forward and backward of the dense objectives, of TRL's GOLD and of the naive form.

OMP_NUM_THREADS=2 python -m benchmarks.objectives --output benchmarks/results/objectives_cpu.json
python -m benchmarks.objectives --device cuda --dtype bfloat16     # make bench-gpu has the same within a time budget

All ways begin at the same hidden states and end with the gradients of the student's states (and of its output weight,
unless --frozen-head): the products with both output layers are in every figure. The floor, "products", is these alone.
Each way at each size runs in a process of its own, after a warm-up on a few tokens, so that its peak of memory is its
own: resident memory above that before the call on a CPU (Linux), allocated memory on a GPU. A way that would not fit is
not tried; the memory of its matrices is computed instead. Text and vocabularies are made up (benchmarks.dense), or
those of two real tokenizers with --student and --teacher.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, NAIVE, Setting, Size, least_bytes
from benchmarks.dense.compare import compared, disagreeing, growth
from benchmarks.dense.measure import SAME_VOCABULARY, STARTED, job
from benchmarks.dense.memory import available_bytes
from benchmarks.dense.naive import FORMS
from crossdistill.objectives import available, get
from crossdistill.runs.run_file import write_json
from crossdistill.signal import Signal

SIZES = {
    "cpu": (
        "256:49152/576:151936/1024",  # SmolLM2-135M under Qwen3-0.6B
        "1024:49152/576:151936/1024",
        "256:262144/640:262144/1152",  # Gemma-3-270M under Gemma-3-1B, with other entries
    ),
    "cuda": (
        "1024:49152/576:151936/4096",
        "4096:151936/2048:128256/4096",  # Qwen3-1.7B under Llama-3.1-8B
        "16384:151936/2048:128256/4096",
        "16384:262144/1152:262144/3840",
    ),
}
GROWTH_PAIR = "151936/1024:128256/2048"
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
RESERVE = 0.85
"""Share of the free memory that a way may take by default."""


def dense_objectives() -> list[str]:
    return [name for name in available() if get(name).signal is Signal.DENSE]


def run_one(way: str, size: Size, setting: Setting, most_seconds: float) -> dict[str, Any]:
    """The figures of one way, from a process of its own, with the load of the machine before and after it."""
    needed = least_bytes(way, size, setting.dtype)
    if needed > setting.cap_bytes:
        return {"status": "does not fit", "computed_bytes_at_least": needed}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.dense.measure", job(way, size, setting), str(output)]
        root = Path(__file__).parents[1]
        reason = ""
        try:
            done = subprocess.run(command, cwd=root, timeout=most_seconds, capture_output=True, text=True, check=False)  # noqa: S603
            reason = "\n".join(done.stderr.strip().splitlines()[-3:])
        except subprocess.TimeoutExpired:
            reason = "time-out"
        result = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {"status": "failed"}
    if result["status"] == STARTED:
        began = result.pop("began")
        result |= {"status": "failed"}
        if reason == "time-out":
            result |= {"status": "time-out", "seconds_at_least": time.time() - began}
    if result["status"] == "failed":
        result["reason"] = reason
    return result | {"load_before": load, "load_after": os.getloadavg()[0]}


def ways_at(size: Size, objectives: Sequence[str], naive: Sequence[str], gold: bool = True) -> list[str]:
    """The ways that are measured at a size: the floor, our objectives, the naive forms, GOLD."""
    one_vocabulary = size.student_vocab == size.teacher_vocab
    fitting = [name for name in objectives if one_vocabulary or name not in SAME_VOCABULARY]
    others = (GOLD_HYBRID, GOLD_PLAIN) if gold else ()
    return [FLOOR, *fitting, *(NAIVE + name for name in fitting if name in naive), *others]


def show(size: Size, ways: dict[str, Any], ratios: dict[str, Any]) -> Table:
    table = Table("way", "seconds", "extra MiB", "GOLD / ours: time", "memory", "of the bare rate", title=str(size))
    for way, result in ways.items():
        if result["status"] != "ok":
            why = result["status"] + (f", {result['reason']}" if "reason" in result else "")
            table.add_row(way, why, f"{least_bytes(way, size, 'float32') / 2**20:,.0f}+" if "fit" in why else "")
            continue
        line = ratios.get(way, {})
        gold = [line.get(GOLD_PLAIN, {}).get(key) for key in ("time", "memory")]
        share = line.get("share_of_bare_rate")
        table.add_row(
            way,
            f"{result['seconds']:.3f}",
            f"{result['extra_bytes'] / 2**20:,.0f}",
            *("" if ratio is None else f"{ratio:.1f}" for ratio in gold),
            "" if share is None else f"{share:.0%}",
        )
    return table


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of states and output weights: float32 or bfloat16.")] = "float32",
    sizes: Annotated[str, typer.Option(help="TOKENS:V_S/H_S:V_T/H_T, by commas; by default the device's sizes.")] = "",
    objectives: Annotated[str, typer.Option(help="Names, by commas; by default all dense ones.")] = "",
    naive: Annotated[str, typer.Option(help=f"Whose naive form is measured: of {', '.join(FORMS)}.")] = "simct",
    growth_objective: Annotated[
        str, typer.Option(help="The objective whose memory is measured as tokens grow.")
    ] = "simct",
    growth_tokens: Annotated[
        str, typer.Option(help="Numbers of tokens, by commas; empty for none.")
    ] = "1024,2048,4096",
    growth_pair: Annotated[str, typer.Option(help="V_S/H_S:V_T/H_T.")] = GROWTH_PAIR,
    frozen_head: Annotated[bool, typer.Option(help="The student's output weight gets no gradient (LoRA).")] = False,
    response_tokens: Annotated[int, typer.Option(min=8, help="Tokens of the longest response.")] = 1024,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions of a call, as long as they are cheap.")] = 3,
    cheap_seconds: Annotated[float, typer.Option(help="No repetition begins after this many seconds.")] = 12.0,
    seconds: Annotated[float, typer.Option(help="Time-out of one way at one size, including its start.")] = 420.0,
    cap_gib: Annotated[
        float | None, typer.Option(help="Extra memory of one way; by default 85 % of the free one.")
    ] = None,
    student: Annotated[str, typer.Option(help="Folder of a real tokenizer; --sizes then has its vocabulary.")] = "",
    teacher: Annotated[str, typer.Option(help="Folder of the teacher's; give both or none.")] = "",
    gold: Annotated[bool, typer.Option(help="Measure TRL's GOLD too.")] = True,
    output: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure the dense objectives."""
    if bool(student) != bool(teacher):
        raise typer.BadParameter("give both tokenizers or none")
    cap_bytes = int(available_bytes(device) * RESERVE if cap_gib is None else cap_gib * 2**30)
    setting = Setting(
        device, dtype, not frozen_head, response_tokens, cap_bytes, repeats, cheap_seconds, 0, student, teacher
    )
    names, cells, console = listed(objectives) or dense_objectives(), [], Console()
    for size in map(Size.parse, listed(sizes) or SIZES[device]):
        ways = {way: run_one(way, size, setting, seconds) for way in ways_at(size, names, listed(naive), gold)}
        ratios = compared(ways, size, dtype)
        cells.append({"size": str(size), "ways": ways, "compared": ratios})
        console.print(show(size, ways, ratios))
    longer = [Size.parse(f"{tokens}:{growth_pair}") for tokens in listed(growth_tokens)]
    grown = growth(longer, [run_one(growth_objective, size, setting, seconds) for size in longer], dtype)
    console.print({key: value for key, value in grown.items() if key != "lines"})
    if output is not None:
        command = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python -m benchmarks.objectives "
        figures = {"command": command + " ".join(sys.argv[1:]), "setting": vars(setting), "cells": cells}
        write_json(output, figures | {"growth_objective": growth_objective, "growth": grown})
    wrong = {cell["size"]: disagreeing(cell["ways"], TOLERANCE[dtype]) for cell in cells}
    if any(wrong.values()):
        console.print(f"differs from the naive form: {wrong}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
