"""The demo's sums as an evaluation task, and a grader that compares texts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from crossdistill.demo.run import message
from crossdistill.demo.task import grade, problems
from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import Task, TaskOptions

AHEAD = 3
"""Responses that the grader reads before it gives the first verdict, as graders with several processes do."""


class SumsGrader(Grader):
    """Right if the response ends with the answer."""

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        source = iter(responses)
        first = list(islice(source, AHEAD))
        for problem, response in chain(first, source):
            words = response.split()
            is_right = grade(self.sums[problem.id], response)
            yield Verdict(is_right, " ".join(words[-4:]) if words else None)

    def __init__(self, sums: dict) -> None:
        self.sums = sums


class Sums(Task):
    name = "sums"

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        return [Problem(name, message(one), one.answer) for name, one in self._sums.items()]

    def grader(self, options: TaskOptions) -> Grader:
        return SumsGrader(self._sums)

    @property
    def _sums(self) -> dict:
        return {f"sum {k}": one for k, one in enumerate(problems("test", 24, seed=1))}


class Unfit(Sums):
    """Its grader cannot grade on this machine."""

    name = "unfit"

    def grader(self, options: TaskOptions) -> Grader:
        class Refusing(SumsGrader):
            def check(self, problems: Sequence[Problem]) -> None:
                raise InputError("the grader needs what is not there: install it.")

        return Refusing(self._sums)
