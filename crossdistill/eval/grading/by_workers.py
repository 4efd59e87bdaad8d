"""Graders that ask processes of their own."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.side_by_side import side_by_side
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.grading.workers import Workers
from crossdistill.eval.problem import Problem
from crossdistill.eval.sandbox import Limits

WORKER_LIMITS = Limits(math.inf, math.inf, memory=4 << 30, processes=64, output=1 << 40)
"""Of each process: one that answers is bounded in memory alone, by question in time."""
_AHEAD = 8


class GraderByWorkers(Grader):
    """Grades responses side by side, as many as it has processes.

    Args:
        workers: the processes.
        num: how many there are.
    """

    def __init__(self, workers: Workers, num: int) -> None:
        self._workers, self._num_workers = workers, num

    @abstractmethod
    def _grade_one(self, item: tuple[Problem, str]) -> Verdict:
        """Grade one response; called from several threads."""

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        self._workers.resume()
        num = self._num_workers
        yield from side_by_side(
            self._grade_one, responses, threads=num, ahead=_AHEAD * num, end=self._workers.interrupt
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()
