"""Grading of multiple choice."""

from collections.abc import Iterable, Iterator, Sequence

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.extraction import last_letter
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem


class ChoiceGrader(Grader):
    """Compares the letter that a response ends on with the right one.

    Example:
        >>> problem = Problem("0", "Which is a prime? (A) 4 (B) 5", "B")
        >>> [verdict] = ChoiceGrader("AB").grade([(problem, "Answer: **B**")])
        >>> verdict.correct
        True
    """

    def __init__(self, letters: Sequence[str] = "ABCD") -> None:
        """Grade a choice among these letters."""
        self._letters = letters

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        for problem, response in responses:
            letter = last_letter(response, self._letters)
            reason = "no letter is chosen" if letter is None else None
            yield Verdict(correct=letter == problem.reference, extracted=letter, reason=reason)
