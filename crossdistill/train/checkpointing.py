"""What a checkpoint holds beside TRL's: what the run has spent, what it was warned of, what is trained beside it, and
by what a teacher behind a server is known again.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py): ``train``, ``_save_checkpoint``, ``_save`` and
``_load_from_checkpoint``.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from crossdistill.costs import Costs
from crossdistill.errors import InputError, TeacherError
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.teachers import Teacher
from crossdistill.teachers.served import ServedTeacher
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats
from crossdistill.teachers.served.probe import Capabilities
from crossdistill.train.generation import GenerationTrainer
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.monitor.watchdog import Watchdog


class CheckpointingTrainer(GenerationTrainer):
    """Goes on after an interruption as if there had been none. What it saves of the student is the plain model.

    Where a teacher behind a server fails (TeacherError, which is raised), the last optimisation step is saved first.

    Attributes:
        ledger: what this process has spent and what became of every token that it sampled in training.
        teachers: by name. watchdog: what the run was warned of.
    """

    teachers: dict[str, Teacher]
    ledger: Usage
    watchdog: Watchdog

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As TRL's; `resume_from_checkpoint` is a checkpoint's path, or True for the last one. The ledger goes on.

        Raises InputError where a server's model is not the one that taught up to that checkpoint.
        """
        if isinstance(resume_from_checkpoint, bool):
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint else None
        self._began_at = time.perf_counter()
        if resume_from_checkpoint is not None:
            check_references(self.teachers, Path(resume_from_checkpoint))
            self.watchdog.load(resume_from_checkpoint)
            if self.accelerator.is_main_process:
                self.ledger.load(resume_from_checkpoint)
        self._seconds_before = self.ledger.seconds
        if resume_from_checkpoint is not None:
            state = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME))
            if self._is_over(state):
                return self._as_it_ended(resume_from_checkpoint, state)
        try:
            return super().train(resume_from_checkpoint, **kwargs)
        except TeacherError:
            self._save_last_step()
            raise

    def _is_over(self, state: TrainerState) -> bool:
        """Whether no step is left after a checkpoint's: transformers would make one more."""
        if self.args.max_steps <= 0 and self.args.num_train_epochs != state.num_train_epochs:
            return False
        steps = self.args.max_steps if self.args.max_steps > 0 else state.max_steps
        return state.global_step >= steps and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _as_it_ended(self, checkpoint: str, state: TrainerState) -> TrainOutput:
        self._load_from_checkpoint(checkpoint)
        self._load_rng_state(checkpoint)
        self.state = state
        return TrainOutput(self.state.global_step, 0.0, {})

    def _save_last_step(self) -> None:
        """A teacher fails while rollouts are scored, between two optimisation steps: the last one is whole.

        Within several steps on one batch an evaluation can fail as well; an earlier checkpoint is resumed exactly then.
        """
        if self.state.global_step > 0 and self.state.global_step % self.args.num_iterations == 0:
            self._save_checkpoint(self.model, None)

    def total_usage(self) -> Usage:
        """The ledger of all processes together; every process must ask."""
        self.ledger.seconds = self._seconds_before + time.perf_counter() - self._began_at
        total = Usage(Costs(self.ledger.costs.student_params, self.ledger.costs.teacher_params))
        for entry in gather_object([self.ledger.as_dict()]):
            total.add(entry)
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        is_writer = self.accelerator.is_main_process
        total = self.total_usage()
        if is_writer:
            total.save(checkpoint)
            self.watchdog.save(checkpoint)
            save_references(self.teachers, checkpoint)
        auxiliary_heads.save(self._student, checkpoint, is_writer)
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        with auxiliary_heads.detached(self._student):
            super()._save(output_dir, None if state_dict is None else auxiliary_heads.without_heads(state_dict))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with auxiliary_heads.detached(self._student):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        auxiliary_heads.load(self._student, Path(resume_from_checkpoint))

    @property
    def _student(self) -> nn.Module:
        student: nn.Module = self.accelerator.unwrap_model(self.model)
        return student


FILE_NAME = "served_teachers.json"


def save_references(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Write what each served teacher made of its reference text: ids and nats, as the run found them at its start."""
    found = {name: teacher.capability for name, teacher in teachers.items() if isinstance(teacher, ServedTeacher)}
    if found:
        entries = {name: {"ids": one.reference_ids, "logprobs": one.reference.tolist()} for name, one in found.items()}
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / FILE_NAME).write_text(json.dumps(entries))


def check_references(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Raises InputError for a server whose model is not the one that taught up to this checkpoint."""
    path = checkpoint / FILE_NAME
    entries = json.loads(path.read_text()) if path.exists() else {}
    for name, teacher in teachers.items():
        if name in entries and isinstance(teacher, ServedTeacher):
            difference = _difference(teacher.capability, **entries[name])
            if difference is not None:
                raise InputError(
                    f"the teacher {name!r} is another model than the one that taught the run up to {checkpoint.name}: "
                    f"{difference}. Serve the first one again, or begin a new run in another folder."
                )


def _difference(found: Capabilities, ids: list[int], logprobs: list[float]) -> str | None:
    """In words. A server with a shorter context is told by the beginning of the same text."""
    if any(one != other for one, other in zip(found.reference_ids, ids, strict=False)):
        return "its tokenizer reads a known text otherwise"
    nats = difference_nats(np.array(logprobs, dtype=np.float32), found.reference)
    return None if nats <= TOLERANCE_NATS else f"its log-probabilities of a known text differ by {nats:.2g} nats"


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """A TeacherError of one process is raised in all of them, which would wait for it forever. Every process enters."""
    failure: TeacherError | None = None
    try:
        yield
    except TeacherError as error:
        failure = error
    told = [one for one in gather_object([None if failure is None else str(failure)]) if one is not None]
    if failure is not None:
        raise failure
    if told:
        raise TeacherError(told[0])
