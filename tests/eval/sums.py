"""The demo's sums with graders as others have them: one that reads ahead, and one that cannot grade here."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from crossdistill.demo.sums import Sums
from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions

AHEAD = 3
"""Responses that the grader reads before it gives the first verdict, as graders with several processes do."""


class Eager(Grader):
    """Passes on what another grader says, after it has read some responses."""

    def __init__(self, inner: Grader):
        self._inner = inner

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        source = iter(responses)
        first = list(islice(source, AHEAD))
        return self._inner.grade(chain(first, source))


class EagerSums(Sums):
    def __init__(self, num_problems: int = 12):
        super().__init__(num_problems)

    def grader(self, options: TaskOptions) -> Grader:
        return Eager(super().grader(options))


class Ungradable(EagerSums):
    def grader(self, options: TaskOptions) -> Grader:
        class Refusing(Eager):
            def check(self, problems: Sequence[Problem]) -> None:
                raise InputError("what grades them is not installed: install it.")

        return Refusing(super().grader(options))
