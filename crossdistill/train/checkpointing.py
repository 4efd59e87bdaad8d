"""Checkpoint state beyond TRL's: usage, warnings, auxiliary heads, identities of the teachers.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py), in addition to what `resumable` overrides:
``train``, ``_save`` and ``_load_from_checkpoint``.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crossdistill.errors import EvaluationError, InputError, ServerError
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.teachers import Teacher
from crossdistill.teachers.base import TeacherFindingError
from crossdistill.train.checkpoint import Contents
from crossdistill.train.monitor.base import Monitor
from crossdistill.train.monitor.usage import FILE_NAME as USAGE_FILE
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.resumable import ResumableTrainer, ending_together
from crossdistill.train.stream import StreamError
from crossdistill.train.streaming import StreamingTrainer

TEACHERS_FILE = "teachers.json"


class CheckpointingTrainer(ResumableTrainer, StreamingTrainer):
    """Resumes as if there had been no interruption. The student that it saves is the plain model.

    If a server fails (ServerError), a stream (StreamError) or a reward (EvaluationError), the last optimisation step is
    saved before the error is raised.

    Attributes:
        teachers: by name.
        monitors: watch the run; each saves and loads its own state.
        usage: the monitor of what this process has spent, and what became of every token that it sampled in training.
    """

    monitors: list[Monitor]
    usage: Usage

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        """As TRL's `train`.

        Args:
            resume_from_checkpoint: path of a checkpoint, or True for the newest whole one.
            **kwargs: as TRL's.

        Raises:
            InputError: the checkpoint is not whole, or there is none; a teacher is not the one that taught up to it.
            OutOfSpaceError: a disk is full.
        """
        if self.train_dataset is None:
            raise InputError("the training data is missing: pass train_dataset to the trainer.")
        checkpoint = self._checkpoint_to_resume(resume_from_checkpoint)
        self.usage.start()
        if checkpoint is not None:
            check_identities(self.teachers, checkpoint)
            for monitor in self.monitors:
                monitor.load(checkpoint)
        try:
            return super().train(checkpoint, **kwargs)
        except (ServerError, TeacherFindingError, StreamError, EvaluationError):
            self._save_last_step()
            raise

    def _save_last_step(self) -> None:
        """A teacher or a stream fails before rollouts are used, between two optimisation steps: the last one is whole.

        Between several steps on one batch an evaluation can fail as well; only an earlier checkpoint can then be
        resumed exactly.
        """
        step = self.state.global_step
        if step > 0 and step % self.args.num_iterations == 0 and step != self.last_saved_step:
            self._save_checkpoint(self.model, None)

    def total_usage(self) -> Usage:
        """The usage of all processes together; every process must call it."""
        return self.usage.total()

    @property
    def checkpoint_contents(self) -> Contents:
        has_heads = auxiliary_heads.auxiliary_heads_of(self._student) is not None
        own = (USAGE_FILE, *([auxiliary_heads.FILE] if has_heads else []))
        return replace(super().checkpoint_contents, own=own)

    def _save_own_state(self, checkpoint: Path) -> None:
        is_writer = self.accelerator.is_main_process
        for monitor in self.monitors:
            with ending_together(checkpoint.parent):  # one by one, because some add up over processes
                monitor.save(checkpoint, is_writer)
        with ending_together(checkpoint.parent):
            super()._save_own_state(checkpoint)
            if is_writer:
                save_identities(self.teachers, checkpoint)
            auxiliary_heads.save(self._student, checkpoint, is_writer)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        with auxiliary_heads.detached(self._student):
            super()._save(output_dir, None if state_dict is None else auxiliary_heads.without_heads(state_dict))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self._is_sharded:  # an engine saves and loads the heads as what they are to it, a part of the student
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        with auxiliary_heads.detached(self._student):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        auxiliary_heads.load(self._student, Path(resume_from_checkpoint))

    @property
    def _student(self) -> nn.Module:
        student: nn.Module = self.accelerator.unwrap_model(self.model)
        return student


def save_identities(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Write the identities of the teachers that have one."""
    known = {name: dict(teacher.identity()) for name, teacher in teachers.items() if teacher.identity()}
    if known:
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / TEACHERS_FILE).write_text(json.dumps(known))


def check_identities(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Raises InputError for a teacher that is not the one that taught up to this checkpoint."""
    path = checkpoint / TEACHERS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, teacher in teachers.items():
        difference = teacher.difference(known[name]) if name in known else None
        if difference is not None:
            raise InputError(
                f"the teacher {name!r} is another model than the one that taught the run up to {checkpoint.name}: "
                f"{difference}. Use the first one again, or begin a new run in another folder."
            )
