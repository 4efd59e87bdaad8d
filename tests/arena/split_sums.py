"""The demo's test problems in two halves, as validation and test problems of an arena in the tests."""

from crossdistill.demo.sums import Sums
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions

NUM_PROBLEMS = 24


class Validation(Sums):
    """The first half."""

    name = "validation_sums"
    half = slice(0, NUM_PROBLEMS)

    def all_problems(self, options: TaskOptions) -> list[Problem]:
        return list(super().all_problems(options))[self.half]


class Test(Validation):
    """The second half."""

    __test__ = False  # no class of tests

    name = "test_sums"
    half = slice(NUM_PROBLEMS, 2 * NUM_PROBLEMS)
