"""One process of a launch whose training steps are timed: CONFIG.json -> the main process writes CONFIG's "output".

Started by :mod:`benchmarks.scale` with ``accelerate launch``. On a CPU the engines are made to run as in the tests.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from crossdistill.cli.processes import leave_processes
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.runs.run_file import write_json
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

WARM_UP = 1
"""Steps that are not counted."""


def seconds_of_steps(config: dict[str, Any]) -> dict[str, Any]:
    """Train, and return the seconds of each optimisation step after the warm-up, and its parts'."""
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        _allow_engines()
    trainer = CrossTokenizerTrainer(
        config["student"] or asset("student"),
        config["teacher"] or asset("teacher"),
        CrossTokenizerConfig(
            output_dir=str(Path(config["output"]).parent),
            objective=config["objective"],
            max_steps=config["steps"] + WARM_UP,
            per_device_train_batch_size=config["batch"] // int(os.environ.get("WORLD_SIZE", "1")),
            max_completion_length=config["response_tokens"],
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=has_gpu,
            use_cpu=not (has_gpu or _uses_deepspeed()),
            ddp_backend=None if has_gpu or "RANK" not in os.environ else "gloo",
        ),
        train_dataset=Dataset.from_dict({"prompt": [message(problem) for problem in problems("train", 256, seed=0)]}),
    )
    trainer.train()
    rows = [row for row in trainer.state.log_history if "seconds/total" in row][WARM_UP:]
    return {
        "engine": trainer.accelerator.distributed_type.value,
        "processes": trainer.accelerator.num_processes,
        "steps": [{name: value for name, value in row.items() if name.startswith("seconds/")} for row in rows],
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if has_gpu else None,
    }


def _allow_engines() -> None:
    from tests.engines.cpu_deepspeed import allow_deepspeed
    from tests.engines.cpu_fsdp import allow_fsdp

    allow_fsdp()
    if _uses_deepspeed():
        allow_deepspeed()


def _uses_deepspeed() -> bool:
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


if __name__ == "__main__":
    launched = json.loads(Path(sys.argv[1]).read_text())
    measured = seconds_of_steps(launched)
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(Path(launched["output"]), measured)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    leave_processes()
