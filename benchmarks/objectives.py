"""Time and peak extra memory of forward and backward of the dense objectives, beside TRL's GOLD and the naive form.

OMP_NUM_THREADS=2 python -m benchmarks.objectives --output benchmarks/results/objectives_cpu.json
python -m benchmarks.objectives --device cuda --dtype bfloat16 --output benchmarks/results/objectives_gpu.json

All ways begin at the same hidden states and end with the gradients of the student's (and of its output weight, unless
--frozen-head): the products with both output layers are in every figure. The floor, "products", is these alone. Each
way at each size runs in a process of its own, after a warm-up on a few tokens, so that its peak of memory is its own:
resident memory above what was held before the call on a CPU (Linux), allocated memory on a GPU. What would not fit is
not tried, and what its matrices would take is computed. Text and vocabularies are made up (benchmarks.dense), or those of
two real tokenizers with --student and --teacher.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, NAIVE, Setting, Size, least_bytes
from benchmarks.dense.compare import compared, disagreeing, growth
from benchmarks.dense.measure import SAME_VOCABULARY, job
from benchmarks.dense.memory import available_bytes
from benchmarks.dense.naive import FORMS
from crossdistill.objectives import Signal, available, get
from crossdistill.report.run_file import write_json

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
    """The figures of one way, from a process of its own, with the load of the machine around it."""
    needed = least_bytes(way, size, setting.dtype)
    if needed > setting.cap_bytes:
        return {"status": "does not fit", "computed_bytes_at_least": needed, "cap_bytes": setting.cap_bytes}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.dense.measure", job(way, size, setting), str(output)]
        root = Path(__file__).parents[1]
        try:
            done = subprocess.run(command, cwd=root, timeout=most_seconds, capture_output=True, text=True, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            # its start is in it: a few seconds too many, which an "at least" must not have
            return {"status": "time-out", "seconds_at_least": most_seconds - START_SECONDS, "load_before": load}
        if not output.exists():
            return {"status": "failed", "reason": done.stderr.strip().splitlines()[-3:], "returncode": done.returncode}
        result = read_json(output)
    return result | {"load_before": load, "load_after": os.getloadavg()[0]}
