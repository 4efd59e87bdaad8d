"""A reward by the grader of an evaluation task, on the answers that come with the training data."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.train.reward.base import Answer, Grade, Reward

NUM_CHECKED = 16
"""Rows whose reference solutions are tried before a run, if they have some: all would take too long."""


class TaskReward(Reward):
    """1 for an answer that the task's grader finds right, 0 for any other.

    Nothing of the task but its grader is used: prompts and right answers are those of the training data.

    Args:
        task: whose grader.
        options: of the grader.
    """

    def __init__(self, task: Task, options: TaskOptions):
        self.name = task.name
        self._task = task
        self._options = options
        self._grader: Grader | None = None

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        assert self._grader is not None, "a reward grades inside its context"
        problems = [self._problem(answer.row, number) for number, answer in enumerate(answers)]
        texts = [answer.text for answer in answers]
        verdicts = list(self._grader.grade(zip(problems, texts, strict=True)))
        if len(verdicts) != len(answers):
            raise InputError(
                f"the grader of task {self.name!r} gave {len(verdicts)} verdicts for {len(answers)} responses: it must "
                "give one for each, in order."
            )
        return [Grade(float(verdict.correct), verdict.parsed) for verdict in verdicts]

    def check(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check that every row has an answer that the grader understands, and that it grades rightly here."""
        problems = (self._problem(row, number) for number, row in enumerate(rows))
        first = list(islice(problems, NUM_CHECKED))
        for _ in problems:
            """Each is read."""
        with self._task.grader(self._options) as grader:
            grader.check(first)

    def __enter__(self) -> Self:
        self._grader = self._task.grader(self._options).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        grader, self._grader = self._grader, None
        if grader is not None:
            grader.__exit__(kind, error, trace)

    def _problem(self, row: Mapping[str, Any], number: int) -> Problem:
        prompt = row["prompt"]
        return Problem(str(prompt), prompt, self._task.training_reference(Row(row, number, "the training data")))
