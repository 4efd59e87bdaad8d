"""What can go wrong in one process of several."""

from collections.abc import Callable
from typing import Any

from crossdistill.errors import TeacherUnavailableError


def is_last(trainer: Any) -> bool:
    return bool(trainer.accelerator.process_index == trainer.accelerator.num_processes - 1)


def teacher_dies(trainer: Any) -> None:
    """The last process loses its teacher at the third rollout."""
    score, calls = trainer.teacher.score, []

    def lost(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3 and is_last(trainer):
            raise TeacherUnavailableError("the teacher is gone.")
        return score(*args)

    trainer.teacher.score = lost


FAULTS: dict[str, Callable[[Any], None]] = {"teacher_dies": teacher_dies}
