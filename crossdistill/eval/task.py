"""The contract of an evaluation task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling


@dataclass(frozen=True)
class TaskOptions:
    """What a user may say of a task, beside its name.

    Attributes:
        source: a file, folder or hub id with its problems, in place of the task's own hub data set.
        limit: number of problems, drawn by `seed` and kept in their order; None takes all.
        seed: of whatever a task draws: which problems, the order of choices, generated problems.
        unsandboxed: run generated code without a sandbox.
        sandbox: "bubblewrap" or "docker", for code; None takes bubblewrap.
        workers: responses graded at once; None takes the number of cores.
    """

    source: str | Path | None = None
    limit: int | None = None
    seed: int = 0
    unsandboxed: bool = False
    sandbox: str | None = None
    workers: int | None = None


class Task(ABC):
    """One evaluation task, by name. A new one is one file that defines a subclass.

    Attributes:
        name: as in ``--task``.
        sampling: how people sample for this task unless told otherwise; the paper's settings are a preset.
    """

    name: str
    sampling: Sampling = Sampling()

    @abstractmethod
    def problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The problems, with unique ids.

        Raises:
            InputError: they cannot be read, ids or answers are missing, or ids occur twice.
        """

    @abstractmethod
    def grader(self, options: TaskOptions) -> Grader:
        """A new grader of responses to these problems."""
