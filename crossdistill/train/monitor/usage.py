"""What a run has spent, and what became of every token that it sampled; kept in checkpoints."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from crossdistill.align import Coverage, DropReason
from crossdistill.costs import Costs, Part
from crossdistill.errors import InputError
from crossdistill.train.monitor.base import Monitor, Observation

FILE_NAME = "usage.json"


class Usage(Monitor):
    """Tokens, FLOPs and coverage of this process; :meth:`total` adds up all processes.

    Args:
        student_params, teacher_params: parameters that take part in matrix products (see
            :class:`crossdistill.costs.Costs`); of the teachers by name, 0 if they are not known. The first one counts
            for what a teacher writes.
        num_iterations: optimisation steps on a batch of rollouts.
        is_main_process: whether this process goes on from a checkpoint's figures, which are those of all processes.

    Attributes:
        costs: tokens and FLOPs by part.
        coverage: of every sampled token.
    """

    def __init__(
        self,
        student_params: int,
        teacher_params: Mapping[str, int],
        num_iterations: int = 1,
        is_main_process: bool = True,
    ):
        self.costs = Costs(student_params, next(iter(teacher_params.values()), 0))
        self.coverage = Coverage()
        self._teacher_params = dict(teacher_params)
        self._num_iterations = num_iterations
        self._is_main_process = is_main_process
        self._seconds = 0.0
        self._began_at: float | None = None

    def start(self) -> None:
        """Training begins; its time is counted from here."""
        self._began_at = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._seconds + (0.0 if self._began_at is None else time.perf_counter() - self._began_at)

    def see(self, seen: Observation) -> None:
        if seen.mode != "train":
            return
        scored, rollout = seen.batch.responses, seen.rollout
        given_tokens = rollout.num_prompt_tokens + rollout.num_tool_tokens
        student_tokens = given_tokens + sum(len(item.response.ids) for item in scored)
        self.coverage.add(seen.batch.coverage)
        if seen.written_by is Part.STUDENT_ROLLOUT:
            self.costs.add(Part.STUDENT_ROLLOUT, student_tokens)
        elif seen.written_by is not None:
            self.costs.add(seen.written_by, sum(item.num_teacher_tokens for item in scored))
        self.costs.add(Part.STUDENT_SCORE, student_tokens if seen.rescored else 0)
        self.costs.add(Part.STUDENT_STEP, student_tokens * self._num_iterations)
        for score in (one for item in scored for one in (item, *item.others)):
            params = self._teacher_params.get(score.teacher_name)
            self.costs.add(Part.TEACHER_PREFILL, score.num_teacher_tokens, params)

    def total(self) -> "Usage":
        """The usage of all processes together; every process must call it."""
        total = Usage(self.costs.student_params, {"": self.costs.teacher_params})
        for entry in gather_object([self.as_dict()]):
            total.add(entry)
        return total

    def as_dict(self) -> dict[str, Any]:
        """``coverage``, ``tokens``, ``flops`` and ``seconds`` as in ``run.json``."""
        return {"coverage": self.coverage.as_dict(), **self.costs.as_dict(), "seconds": self.seconds}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add what :meth:`as_dict` gave of another process, or of an earlier part of the run."""
        for part, tokens in entry["tokens"].items():
            self.costs.include(Part(part), tokens, entry["flops"][part])
        coverage = entry["coverage"]
        self.coverage.supervise(coverage["supervised_tokens"], coverage["supervised_bytes"])
        for reason, tokens in coverage["dropped_tokens"].items():
            self.coverage.drop(DropReason(reason), tokens, coverage["dropped"][reason])
        self._seconds = max(self._seconds, entry["seconds"])  # processes run side by side

    def save(self, checkpoint: Path, is_writer: bool) -> None:
        total = self.total()
        if is_writer:
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / FILE_NAME).write_text(json.dumps(total.as_dict(), indent=2))

    def load(self, checkpoint: Path) -> None:
        """Raises InputError for a checkpoint of another version."""
        path = checkpoint / FILE_NAME
        if not path.exists():
            raise InputError(
                f"the checkpoint {str(checkpoint)!r} has no {FILE_NAME}: another version of crossdistill, or another "
                "trainer, wrote it; begin a new run in another folder."
            )
        if self._is_main_process:
            self.add(json.loads(path.read_text()))
