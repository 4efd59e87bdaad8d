"""Starts processes as users do, with ``accelerate launch`` and the recipes; reads what they left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.engines.case import Case

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "accelerate"
WORKER = "tests.engines.worker"
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "GLOO_SOCKET_IFNAME": "lo",
    "DS_ACCELERATOR": "cpu",
}


@dataclass(frozen=True)
class Outcome:
    """Of a case.

    Attributes:
        result: of the main process, see `tests.engines.worker`.
        weights: the whole student after each number of steps.
    """

    result: dict[str, Any]
    weights: dict[int, dict[str, torch.Tensor]]

    def since(self, step: int) -> "Outcome":
        """Without what was before a step."""
        history = [entry for entry in self.result["history"] if entry["step"] > step]
        weights = {number: whole for number, whole in self.weights.items() if number >= step}
        return Outcome({**self.result, "history": history}, weights)

    @property
    def steps(self) -> list[dict[str, float]]:
        """The logs of the optimisation steps."""
        return [entry for entry in self.result["history"] if "loss" in entry]


def command(engine: str, num_processes: int, *overrides: str) -> list[str]:
    """The command line up to the program, of a recipe's engine; ``one`` is a process by itself."""
    if engine == "one":
        return [sys.executable]
    options = ["--num_processes", str(num_processes), "--mixed_precision", "no", "--main_process_port", "0"]
    recipe = str(RECIPES / f"{engine}.yaml")
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", recipe, *options, *overrides]


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """A launcher in a group of its own, with which it can be stopped."""
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float) -> tuple[str, str]:
    """Its output; a launcher that does not end is killed with its processes."""
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"no end after {timeout:.0f} s:\n{output[-2000:]}\n{errors[-4000:]}") from None


def launch(
    engine: str, num_processes: int, cases: Sequence[Case], folder: Path, *overrides: str, timeout: float = 1800
) -> dict[str, Outcome]:
    """Train cases one after the other in the same processes; starting these takes longest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps({"engine": engine, "cases": [asdict(case) for case in cases]}))
    process = start([*command(engine, num_processes, *overrides), "-m", WORKER, str(folder)])
    output, errors = finish(process, timeout)
    assert process.returncode == 0, f"{output[-2000:]}\n{errors[-6000:]}"
    return {case.name: outcome(folder / case.name) for case in cases}


def outcome(folder: Path) -> Outcome:
    weights = {int(path.stem.split("-")[1]): load_file(path) for path in folder.glob("step-*.safetensors")}
    return Outcome(json.loads((folder / "result.json").read_text()), dict(sorted(weights.items())))
