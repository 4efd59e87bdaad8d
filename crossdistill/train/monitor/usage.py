"""What a run has spent, and what became of every token that it sampled; kept in checkpoints."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from crossdistill.align import Coverage, DropReason
from crossdistill.costs import Costs, Part
from crossdistill.errors import InputError
from crossdistill.flops import ModelFlops
from crossdistill.train.monitor.base import Monitor, Observation

FILE_NAME = "usage.json"


class Usage(Monitor):
    """Data points, tokens, FLOPs and coverage of this process; :meth:`total` adds up all processes.

    Args:
        student: what the student computes.
        teachers: what the teachers compute, by name. The first one counts for what a teacher writes.
        num_iterations: optimisation steps on a batch of rollouts.
        is_main_process: whether this process goes on from a checkpoint's figures, which are those of all processes.

    Attributes:
        data_points: rows that were trained on, each with one response.
        costs: tokens and FLOPs by part.
        coverage: of every sampled token.
    """

    def __init__(
        self,
        student: ModelFlops,
        teachers: Mapping[str, ModelFlops],
        num_iterations: int = 1,
        is_main_process: bool = True,
    ):
        self.data_points = 0
        self.costs = Costs(student, next(iter(teachers.values()), ModelFlops.of_size(0)))
        self.coverage = Coverage()
        self._teachers = dict(teachers)
        self._num_iterations = num_iterations
        self._is_main_process = is_main_process
        self._seconds = 0.0
        self._began_at: float | None = None

    def start(self) -> None:
        """Training begins; its time is counted from here."""
        self._began_at = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside this context is no training, and its time is not counted."""
        paused_at = time.perf_counter()
        yield
        if self._began_at is not None:
            self._began_at += time.perf_counter() - paused_at

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._seconds + (0.0 if self._began_at is None else time.perf_counter() - self._began_at)

    def see(self, seen: Observation) -> None:
        if seen.mode != "train":
            return
        scored, rollout = seen.batch.responses, seen.rollout
        rows = rollout.lengths
        self.coverage.add(seen.batch.coverage)
        if seen.written_by is Part.STUDENT_ROLLOUT:
            self.costs.add(Part.STUDENT_ROLLOUT, rows)
        elif seen.written_by is not None:
            self.costs.add(seen.written_by, [item.num_teacher_tokens for item in scored])
        if seen.rescored:
            self.costs.add(Part.STUDENT_SCORE, rows)
        self.see_rows(Part.STUDENT_STEP, rows, self._num_iterations)
        for score in (one for item in scored for one in (item, *item.others)):
            self.costs.add(Part.TEACHER_PREFILL, [score.num_teacher_tokens], self._teachers.get(score.teacher_name))

    def see_rows(self, part: Part, lengths: Sequence[int], num_iterations: int = 1) -> None:
        """Count rows that are trained on.

        Args:
            part: what is done with them.
            lengths: tokens of each.
            num_iterations: how often.
        """
        self.data_points += len(lengths)
        self.costs.add(part, [*lengths] * num_iterations)

    def total(self) -> "Usage":
        """The usage of all processes together; every process must call it."""
        total = Usage(self.costs.student, self._teachers)
        for entry in gather_object([self.as_dict()]):
            total.add(entry)
        return total

    def as_dict(self) -> dict[str, Any]:
        """``data_points``, ``coverage``, ``tokens``, ``flops`` and ``seconds`` as in ``run.json``."""
        counts = {"data_points": self.data_points, "coverage": self.coverage.as_dict(), **self.costs.as_dict()}
        return {**counts, "seconds": self.seconds}

    @property
    def assumptions(self) -> list[str]:
        """What is assumed of the models' FLOPs, or left out of them; in words."""
        models = {
            "the student": self.costs.student,
            **{f"teacher {name!r}": one for name, one in self._teachers.items()},
        }
        return [f"{name}: {text}" for name, model in models.items() for text in model.assumptions]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add what :meth:`as_dict` gave of another process, or of an earlier part of the run."""
        self.data_points += entry["data_points"]
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
        entry = json.loads(path.read_text())
        if "data_points" not in entry:
            raise InputError(
                f"the checkpoint {str(checkpoint)!r} counts no data points in {FILE_NAME}: another version of "
                "crossdistill wrote it; begin a new run in another folder."
            )
        if self._is_main_process:
            self.add(entry)
