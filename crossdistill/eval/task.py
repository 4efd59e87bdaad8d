"""The contract of an evaluation task."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling


@dataclass(frozen=True)
class TaskOptions:
    """What a user may say of a task, beside its name.

    Attributes:
        source: a file, folder or hub id with its problems, in place of the task's own hub data set.
        limit: number of problems, drawn by `seed` and kept in their order; None takes all.
        seed: of whatever a task draws: which problems, the order of choices, generated problems.
        instruction: what is added to each prompt in place of the task's own instruction; an empty text adds nothing.
        parameters: of the task itself, such as ``version`` of LiveCodeBench or the ``size`` of a generated task.
        unsandboxed: run generated code without a sandbox.
        sandbox: "bubblewrap" or "docker", for code; None takes bubblewrap.
        workers: responses graded at once; None takes the number of cores.

    Example:
        >>> TaskOptions(limit=50, parameters={"version": "release_v5"}).seed
        0
    """

    source: str | Path | None = None
    limit: int | None = None
    seed: int = 0
    instruction: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    unsandboxed: bool = False
    sandbox: str | None = None
    workers: int | None = None


class Task(ABC):
    """One evaluation task, by name. A new one is one file that defines a subclass.

    Attributes:
        name: as in ``--task``; a subclass sets it, or an object in its ``__init__``.
        sampling: how people sample for this task unless told otherwise; the paper's settings are a preset.
        source: hub id or path of its problems unless the options name another; None if it makes them itself.
        parameters: names of the options that are its own (:attr:`TaskOptions.parameters`).
    """

    name: str
    sampling: Sampling = Sampling()
    source: str | None = None
    parameters: Sequence[str] = ()

    @abstractmethod
    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """Every problem, in order, with unique ids, whatever the limit is.

        Raises:
            InputError: they cannot be read, or answers are missing.
        """

    @abstractmethod
    def grader(self, options: TaskOptions) -> Grader:
        """A new grader of responses to these problems."""

    def problems(self, options: TaskOptions) -> list[Problem]:
        """The problems that an evaluation asks: all, or as many as the options say.

        Raises:
            InputError: a parameter is unknown, the problems cannot be read, there are none or fewer than the limit,
                answers are missing, or an id occurs twice.
        """
        self.check_parameters(options)
        problems = list(self.all_problems(options))
        if not problems:
            raise InputError(f"task {self.name!r} has no problems: give it a source with at least one.")
        check_unique(self.name, problems)
        return problems if options.limit is None else _drawn(self.name, problems, options.limit, options.seed)

    def training_reference(self, row: Row) -> Any:
        """The reference of a row of training data, if the task's grader is the reward of a run.

        By default its ``answer``, as it stands; a task whose own rows look otherwise says how they are read.

        Args:
            row: of the training data.

        Raises:
            InputError: it has none, or one that the grader would not understand.
        """
        return row.value("answer")

    def check_parameters(self, options: TaskOptions) -> None:
        """Check that the options name parameters of this task alone.

        Raises:
            InputError: they name another one.
        """
        for name in options.parameters:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise InputError(f"task {self.name!r} has no parameter {name!r}; it takes {known}.")


def check_unique(task: str, problems: Sequence[Problem]) -> None:
    """Check that no two problems have one id.

    Raises:
        InputError: two have, with their numbers from 1.
    """
    numbers: dict[str, int] = {}
    for number, problem in enumerate(problems, 1):
        first = numbers.setdefault(problem.id, number)
        if first != number:
            raise InputError(
                f"problems {first} and {number} of task {task!r} both have the id {problem.id!r}: give each its own."
            )


def _drawn(task: str, problems: list[Problem], limit: int, seed: int) -> list[Problem]:
    if limit < 1:
        raise InputError(f"the limit of task {task!r} is {limit}: give at least 1, or none for all problems.")
    if limit > len(problems):
        raise InputError(f"task {task!r} has {len(problems)} problems, fewer than the limit of {limit}: lower it.")
    chosen = random.Random(seed).sample(range(len(problems)), limit)  # noqa: S311 - a draw, no secret
    return [problems[index] for index in sorted(chosen)]
