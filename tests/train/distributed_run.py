"""Runs that do not depend on chance, for one process or several: STUDENT TEACHER OUTPUT PROMPTS_A_PROCESS."""

import errno
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import IterableDataset
from transformers import Trainer, TrainerCallback

from crossdistill.cli.processes import leave_processes
from crossdistill.errors import InputError, OutOfSpaceError, TeacherError, TeacherUnavailableError
from crossdistill.findings import FindingError
from crossdistill.runs import train as runs
from crossdistill.runs.config import RunConfig
from crossdistill.runs.interrupt import Interrupted
from crossdistill.teachers import kept_states
from crossdistill.train.stream import StreamError
from tests.models import MESSAGES, Pair
from tests.train.harness import RecordingTrainer, arguments, make_trainer, rows


def train(pair: Pair, output: Path, batch: int) -> dict[str, Any]:
    """Greedy rollouts; two micro-batches a step, two steps a rollout, a checkpoint, evaluation, logged completions."""
    trainer = make_trainer(
        pair,
        output,
        top_k=1,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=batch,
        gradient_accumulation_steps=2,
        num_iterations=2,
        max_steps=4,
        learning_rate=2e-3,
        save_strategy="steps",
        save_steps=4,
        eval_strategy="steps",
        eval_steps=4,
        log_completions=True,
        trainer_options={"eval_dataset": rows(MESSAGES[:4])},
    )
    trainer.train()
    return {"processes": trainer.accelerator.num_processes, **_outcome(trainer)}


def groups(pair: Pair, output: Path, batch: int) -> list[list[Any]]:
    """The groups of two steps with two responses to a prompt, in each process."""
    options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 2, "num_generations": 2}
    trainer, found = make_trainer(pair, output, **options), []
    score = trainer._generate_and_score_completions

    def kept(inputs: Any) -> Any:
        scored = score(inputs)
        rollout = trainer._batches["train"].rollout
        found.append([[str(prompt) for prompt in rollout.prompts], rollout.groups])
        return scored

    trainer._generate_and_score_completions = kept  # type: ignore[method-assign]
    trainer.train()
    return gather_object([found])


def _outcome(trainer: RecordingTrainer) -> dict[str, Any]:
    sums = [value.double().abs().sum().item() for value in trainer.weights[-1].values()]
    ledger = trainer.total_usage().as_dict()
    return {
        "history": trainer.state.log_history,
        "five rows": trainer.evaluate(rows(MESSAGES[:5])),
        "five rows of a stream": trainer.evaluate(IterableDataset.from_generator(lambda: iter(rows(MESSAGES[:5])))),
        "weights": gather_object([sums]),
        "completions": sorted(trainer._logs["completion"]),
        "ledger": {name: ledger[name] for name in ("tokens", "flops", "coverage")},
    }


def interrupt_and_resume(pair: Pair, output: Path, prompts: Path) -> str:
    """A whole run of which the last process alone is told to stop; returns what the interruption said."""
    config = RunConfig(
        student=pair.student,
        teacher=pair.teacher,
        dataset=str(prompts),
        eval_dataset=str(prompts),
        train={"max_steps": 2, "per_device_train_batch_size": 1, "max_completion_length": 8, "bf16": False}
        | {"use_cpu": True, "disable_tqdm": True},
    )
    with _OneProcessIsStopped():
        try:
            runs.train(config, output)
        except Interrupted as stop:
            message = str(stop)
    runs.train(config, output, resume=True)
    return message


def fail_in_one(pair: Pair, output: Path) -> dict[str, Any]:
    """A run whose last process alone loses its teacher in the third step; what each process was told."""
    trainer = make_trainer(pair, output, max_steps=4)
    score, calls = trainer.teacher.score, []

    def lost(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3 and trainer.accelerator.process_index == trainer.accelerator.num_processes - 1:
            raise TeacherUnavailableError("the teacher is gone.")
        return score(*args)

    trainer.teacher.score = lost
    try:
        trainer.train()
    except TeacherError as error:
        told = [f"{type(error).__name__}: {error}"]
    return {
        "told": gather_object(told),
        "checkpoints": {
            path.name: sorted(file.name for file in path.iterdir()) for path in output.glob("checkpoint-*")
        },
    }


def run_out_of_space_in_one(pair: Pair, output: Path) -> dict[str, Any]:
    """A run whose last process alone has no room for its part of the second checkpoint."""
    trainer = make_trainer(pair, output, max_steps=3, save_strategy="steps", save_steps=1, save_total_limit=1)
    save, calls = Trainer._save_rng_state, []

    def full(self: Any, folder: str) -> None:
        calls.append(folder)
        if len(calls) == 2 and trainer.accelerator.process_index == trainer.accelerator.num_processes - 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, folder)

    Trainer._save_rng_state = full
    told = []
    try:
        trainer.train()
    except OutOfSpaceError as error:
        told = [str(error).partition(" the disk")[0]]
    Trainer._save_rng_state = save
    return {"told": gather_object(told), "checkpoints": [path.name for path in output.glob("checkpoint-*")]}


def run_out_of_files_in_one(pair: Pair, output: Path) -> list[str]:
    """A run whose last process alone can open no file for its teacher's states; what each process was told."""
    trainer = make_trainer(pair, output, max_steps=1, objective="simct")
    kept_states.SMALLEST_FILE = 1

    def no_file() -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    told, temporary_file = ["nothing"], tempfile.TemporaryFile
    if trainer.accelerator.process_index == trainer.accelerator.num_processes - 1:
        tempfile.TemporaryFile = no_file  # type: ignore[assignment]
    try:
        trainer.train()
    except InputError as error:
        told = [str(error).partition(" (")[0]]
    tempfile.TemporaryFile = temporary_file
    return gather_object(told)


def meet_a_bad_row_in_one(pair: Pair, output: Path) -> dict[str, Any]:
    """A run on a stream whose fourth row, which the second of two processes reads, is no prompt."""
    given = [{"prompt": prompt} for prompt in MESSAGES[:3]] + [{"prompt": None}]
    stream = IterableDataset.from_generator(lambda: iter(given))
    options = {"max_steps": 2, "per_device_train_batch_size": 1, "shuffle_dataset": False}
    trainer = RecordingTrainer(pair.student, pair.teacher, arguments(output, **options), train_dataset=stream)
    told = []
    try:
        trainer.train()
    except StreamError as error:
        told = [str(error).partition(":")[0]]
    return {"told": gather_object(told), "checkpoints": [path.name for path in output.glob("checkpoint-*")]}


def noise_in_one(pair: Pair, output: Path) -> list[str]:
    """A run in whose last process alone the student has noise; what each process was told."""
    trainer = make_trainer(pair, output, max_steps=1)
    if trainer.accelerator.process_index == trainer.accelerator.num_processes - 1:
        layer = trainer.model.model.layers[0].mlp
        layer.register_forward_hook(lambda module, _, out: torch.dropout(out, 0.5, module.training))
    return told_by_training(trainer)


def told_by_training(trainer: Any) -> list[str]:
    """The finding that ends a training, in each process."""
    told = ["nothing"]
    try:
        trainer.train()
    except FindingError as error:
        told = [error.finding.kind.name]
    return gather_object(told)


def overflow_in_one(pair: Pair, output: Path) -> list[str]:
    """A run in whose last process alone the log-probs of a rollout are not finite; what each process was told."""
    trainer = make_trainer(pair, output, max_steps=1)
    old_logprobs = trainer.old_logprobs

    def overflowed(*args: Any) -> Any:
        found = old_logprobs(*args)
        return found._replace(tokens=[row * torch.inf for row in found.tokens])

    if trainer.accelerator.process_index == trainer.accelerator.num_processes - 1:
        trainer.old_logprobs = overflowed
    return told_by_training(trainer)


class _OneProcessIsStopped(TrainerCallback):
    """Patches the run so that its last process gets SIGTERM in its first step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.process_index == args.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> None:
        self._kind = runs.CrossTokenizerTrainer
        runs.CrossTokenizerTrainer = self._build  # type: ignore[assignment,misc]

    def __exit__(self, *_: object) -> None:
        runs.CrossTokenizerTrainer = self._kind  # type: ignore[misc]

    def _build(self, *args: Any, **kwargs: Any) -> Any:
        return self._kind(*args, callbacks=[self], **kwargs)


def main(student: str, teacher: str, folder: str, batch: str) -> None:
    torch.set_num_threads(1)
    pair, output = Pair(student, teacher), Path(folder)
    result = train(pair, output / "trained", int(batch))
    result["groups"] = groups(pair, output / "groups", int(batch))
    if result["processes"] > 1:
        result["interruption"] = interrupt_and_resume(pair, output / "run", output / "prompts.jsonl")
        result["noise"] = noise_in_one(pair, output / "noisy")
        result["overflow"] = overflow_in_one(pair, output / "overflow")
        result["failure"] = fail_in_one(pair, output / "failed")
        result["full disk"] = run_out_of_space_in_one(pair, output / "full")
        result["no file"] = run_out_of_files_in_one(pair, output / "files")
        result["bad row"] = meet_a_bad_row_in_one(pair, output / "bad")
        torch.distributed.barrier()
        if torch.distributed.get_rank() > 0:
            return
    (output / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave_processes()
