"""An evaluation task that a model without any training solves now and then."""

from collections.abc import Iterable, Iterator, Sequence

from crossdistill.eval.grading import Grader, Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from tests.models import MESSAGES

PATH = "tests.runs.parity_task:Parity"
NUM_PROBLEMS = 6


class Parity(Task):
    """The response must have an even number of characters."""

    name = "parity"
    sampling = Sampling(k=2, top_p=0.9, max_tokens=8)

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The first one is a training prompt of the tests."""
        asked = [MESSAGES[0][0]["content"], *(f"Question {number}?" for number in range(1, NUM_PROBLEMS))]
        return [Problem(str(number), text, None) for number, text in enumerate(asked)]

    def grader(self, options: TaskOptions) -> Grader:
        """Counts characters."""
        return Even()


class Even(Grader):
    """Counts characters."""

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """See :meth:`Grader.grade`."""
        return (Verdict(len(response) % 2 == 0, str(len(response))) for _, response in responses)
