"""Problems of mathematics: a question, and an answer that an expression in a box is compared with."""

from collections.abc import Sequence

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.answers import answer_texts
from crossdistill.eval.tasks.instruction import BOXED, instructed
from crossdistill.eval.tasks.rows import HubData, read_rows

_QUESTIONS = ("problem", "question", "prompt")
_IDS = ("unique_id", "id", "problem_idx")


class MathTask(Task):
    """A task whose rows have a problem (or question, or prompt) and an answer.

    Attributes:
        hub: its data set.
    """

    hub: HubData

    def __init__(self, name: str, hub: HubData) -> None:
        self.name, self.hub, self.source = name, hub, hub.id

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """One problem a row; its id is the row's, or else the row's number from 0."""
        instruction = BOXED if options.instruction is None else options.instruction
        return [
            Problem(row_id(row, *_IDS), instructed(row.text(*_QUESTIONS), instruction), self.reference(row))
            for row in read_rows(self.hub, options.source)
        ]

    def reference(self, row: Row) -> str | list[str]:
        """The right answer of a row."""
        return answer_texts(row, "answer")

    def training_reference(self, row: Row) -> str | list[str]:
        """As of the task's own rows."""
        return self.reference(row)

    def grader(self, options: TaskOptions) -> Grader:
        """Of expressions, by math-verify."""
        from crossdistill.eval.grading.math_answer import MathGrader

        return MathGrader(options.workers)


def row_id(row: Row, *names: str) -> str:
    """The id of a row, from the first of these columns that it has; else its number from 0."""
    found = (row.values.get(name) for name in names)
    return str(next((value for value in found if value is not None), row.number - 1))
