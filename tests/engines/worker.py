"""One of several processes that train the cases of a launch: FOLDER, with cases.json in it.

Of each case FOLDER/NAME/result.json has the logs, and step-N.safetensors the whole student after N steps in float32.
With plain gradient descent the difference of two steps is the gradient of every parameter.
"""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import TrainerCallback

from crossdistill.cli.processes import leave_processes
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.errors import InputError, TeacherError
from crossdistill.ops.sharded import gathered
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer
from tests.engines.case import LEARNING_RATE, ROWS, STEPS, Case
from tests.engines.cpu_deepspeed import ON_A_CPU, allow_deepspeed, exact
from tests.engines.cpu_fsdp import allow_fsdp
from tests.engines.faults import FAULTS

USES_DEEPSPEED = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
ENGINES = {
    "ddp": DistributedType.MULTI_CPU,
    "fsdp2": DistributedType.FSDP,
    "zero2": DistributedType.DEEPSPEED,
    "zero3": DistributedType.DEEPSPEED,
    "one": DistributedType.NO,
}


class KeepWeights(TrainerCallback):
    """Saves the student once it is wrapped, and after every step."""

    def __init__(self, trainer: Any, folder: Path):
        self._trainer = trainer
        self._folder = folder

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save(state.global_step)

    def _save(self, step: int) -> None:
        weights = whole_weights(self._trainer.accelerator.unwrap_model(self._trainer.model))
        if self._trainer.accelerator.is_main_process:
            save_file(weights, self._folder / f"step-{step}.safetensors")


def whole_weights(model: Any) -> dict[str, torch.Tensor]:
    """All parameters in float32, gathered. Every process must call it."""
    whole = {}
    with gathered(model):
        for name, parameter in model.named_parameters():
            value = exact(parameter) if USES_DEEPSPEED else parameter.detach()
            if hasattr(value, "full_tensor"):
                value = value.full_tensor()
            whole[name.replace("_checkpoint_wrapped_module.", "")] = value.float().cpu().clone().contiguous()
    return whole


def make_trainer(case: Case, folder: Path) -> CrossTokenizerTrainer:
    batch = ROWS // 2 // int(os.environ.get("WORLD_SIZE", "1"))
    options: dict[str, Any] = {
        "output_dir": str(folder / "checkpoints"),
        "objective": case.objective,
        "objective_options": case.objective_options or None,
        "max_completion_length": 16,
        "per_device_train_batch_size": batch,
        "per_device_eval_batch_size": batch,
        "gradient_accumulation_steps": 2,
        "max_steps": STEPS,
        "logging_steps": 1,
        "optim": "sgd",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1e9,
        "top_k": 1,
        "bf16": False,
        **(ON_A_CPU if USES_DEEPSPEED else {"use_cpu": True}),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "activation_checkpointing": False,
    }
    return CrossTokenizerTrainer(
        case.student or asset("student"),
        case.teacher or asset("teacher"),
        CrossTokenizerConfig(**{**options, **case.options}),
        train_dataset=Dataset.from_dict({"prompt": [message(problem) for problem in problems("train", 64, seed=3)]}),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"]) if case.lora else None,
    )


def train(case: Case, engine: str, folder: Path) -> dict[str, Any]:
    own = folder / case.name
    own.mkdir(exist_ok=True)
    trainer = make_trainer(case, own)
    assert trainer.accelerator.distributed_type == ENGINES[engine], trainer.accelerator.distributed_type
    trainer.add_callback(KeepWeights(trainer, own))
    if case.fault:
        FAULTS[case.fault](trainer)
    told = None
    try:
        trainer.train(resume_from_checkpoint=newest(Path(case.resume)) if case.resume else None)
    except (InputError, TeacherError) as error:
        told = f"{type(error).__name__}: {error}"
    return {
        "processes": trainer.accelerator.num_processes,
        "told": told,
        "step": trainer.state.global_step,
        "history": trainer.state.log_history,
        "findings": trainer.findings.as_list(),
        "coverage": trainer.total_usage().as_dict()["coverage"] if told is None else None,
    }


def newest(folder: Path) -> str:
    return str(max((folder / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])))


@contextmanager
def environment(variables: dict[str, str]) -> Any:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    allow_fsdp()
    if USES_DEEPSPEED:
        allow_deepspeed()
    launched = json.loads((folder / "cases.json").read_text())
    for fields in launched["cases"]:
        case = Case(**fields)
        with environment(case.environment):
            result = train(case, launched["engine"], folder)
        if int(os.environ.get("RANK", "0")) == 0:
            (folder / case.name / "result.json").write_text(json.dumps(result))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    leave_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
