"""The contract of a grader."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem


class Grader(ABC):
    """Grades responses to the problems of one task. It may hold processes: use it in a ``with`` statement."""

    @abstractmethod
    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """Grade responses.

        Args:
            responses: problems and responses to them; a grader may read several ahead and grade them side by side.

        Returns:
            One verdict for each, in their order. A response that breaks the grader (an expression that takes for ever,
            a program that is killed) is not correct, with a reason; it never raises.
        """

    def check(self, problems: Sequence[Problem]) -> None:  # noqa: B027 - most graders have nothing to check
        """Check that this machine grades rightly, on solutions that come with the problems; by default, nothing.

        Raises:
            InputError: a reference solution fails, or what the grader needs is not installed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027 - most graders hold nothing
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what it holds."""
