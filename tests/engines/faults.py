"""What can go wrong in one process of several."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from crossdistill.align import DropReason
from crossdistill.errors import TeacherUnavailableError
from crossdistill.ops.sharded import own_part
from tests.engines.case import ROWS


def is_last(trainer: Any) -> bool:
    return bool(trainer.accelerator.process_index == trainer.accelerator.num_processes - 1)


def teacher_dies(trainer: Any) -> None:
    """The last process loses its teacher at the third rollout of training."""
    score, calls = trainer.teacher.score, []

    def lost(*args: Any) -> Any:
        calls.extend([args] * trainer.model.training)
        if len(calls) == 3 and is_last(trainer):
            raise TeacherUnavailableError("the teacher is gone.")
        return score(*args)

    trainer.teacher.score = lost


def half_dropped(trainer: Any) -> None:
    """The teacher cannot read the second half of the rollouts of a step: those of the last of two processes."""
    score, own = trainer.teacher.score, ROWS // trainer.accelerator.num_processes
    first = trainer.accelerator.process_index * own

    def score_some(requests: Sequence[Any], *signal: Any) -> list[Any]:
        assert len(requests) == own
        answers = score(requests, *signal)
        return [
            DropReason.TEACHER_CONTEXT if row >= ROWS // 2 else answer
            for row, answer in enumerate(answers, start=first)
        ]

    trainer.teacher.score = score_some


class _Overflow(TrainerCallback):
    """Of an element of the input embedding, in the part that the last process has of it."""

    def __init__(self, trainer: Any):
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if is_last(self._trainer):
            student = self._trainer.accelerator.unwrap_model(self._trainer.model)
            own_part(student.get_input_embeddings().weight).data.view(-1)[-1] = torch.inf


def weight_overflows(trainer: Any) -> None:
    """The first optimisation step spoils a weight."""
    trainer.add_callback(_Overflow(trainer))


FAULTS: dict[str, Callable[[Any], None]] = {
    "half_dropped": half_dropped,
    "teacher_dies": teacher_dies,
    "weight_overflows": weight_overflows,
}
