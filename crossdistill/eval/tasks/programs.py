"""Problems whose answer is a Python function, and whose tests are assertions."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.instruction import PROGRAM, instructed
from crossdistill.eval.tasks.rows import HubData, read_rows


class ProgramTask(Task):
    """A task whose rows have a description, tests and a solution.

    Attributes:
        hub: its data set.
    """

    hub: HubData
    sampling = Sampling(max_tokens=2048)

    def __init__(self, name: str, hub: HubData) -> None:
        self.name, self.hub, self.source = name, hub, hub.id

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """One problem a row."""
        instruction = PROGRAM if options.instruction is None else options.instruction
        return [self.problem(row, instruction) for row in read_rows(self.hub, options.source)]

    @abstractmethod
    def problem(self, row: Row, instruction: str) -> Problem:
        """The problem of a row, whose prompt ends with an instruction unless that is empty."""

    def training_reference(self, row: Row) -> Any:
        """The tests of a row that has the columns of the task's own."""
        return self.problem(row, "").reference

    def grader(self, options: TaskOptions) -> Grader:
        """Of programs, which are run in a sandbox."""
        return code_grader(options)


def code_grader(options: TaskOptions) -> Grader:
    """A grader that runs programs, as the options say."""
    from crossdistill.eval.grading.code import CodeGrader

    return CodeGrader(unsandboxed=options.unsandboxed, sandbox=options.sandbox, workers=options.workers)


def asserted(
    problem_id: str, prompt: str, instruction: str, *, prefix: str, tests: str, entry_point: str, solution: str | None
) -> Problem:
    """A problem whose tests are code that is run after the program.

    Args:
        problem_id: of the problem.
        prompt: what is asked.
        instruction: what the prompt ends with.
        prefix: code before a program that lacks the definition.
        tests: code that fails if the program is wrong.
        entry_point: name of the function.
        solution: a program that is right.

    Example:
        >>> tests = "assert add(2, 2) == 4"
        >>> asserted("0", "Write add.", "", prefix="", tests=tests, entry_point="add", solution=None).reference["kind"]
        'asserts'
    """
    reference: dict[str, Any] = {"kind": "asserts", "prefix": prefix, "tests": tests}
    reference |= {"entry_point": entry_point, "solution": solution}
    return Problem(problem_id, instructed(prompt, instruction), reference)
