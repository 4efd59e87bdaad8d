"""Grading of mathematical answers."""

import math
from decimal import Decimal
from typing import Any

from crossdistill.eval.grading.by_workers import WORKER_LIMITS, GraderByWorkers
from crossdistill.eval.grading.extraction import boxes, last_answer
from crossdistill.eval.grading.notation import plain, same
from crossdistill.eval.grading.side_by_side import default_workers
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.grading.workers import EndedError, Workers
from crossdistill.eval.problem import Problem

SECONDS = 10.0
"""For one comparison by algebra; most take a hundredth of a second."""
LONGEST_ANSWER = 1000
"""Characters; what is longer and not the same text is no answer to a problem."""


class MathGrader(GraderByWorkers):
    """Compares the answer that a response gives with the right one, by notation first, then by algebra.

    What counts as the same answer is in the table of docs/grading.md.

    Example:
        >>> problem = Problem("0", "What is a half of 1?", "\\\\frac{1}{2}")
        >>> with MathGrader(workers=1) as grader:
        ...     [verdict] = grader.grade([(problem, "It is \\\\boxed{0.5}.")])
        >>> verdict.correct, verdict.extracted
        (True, '0.5')
    """

    def __init__(self, workers: int | None = None, seconds: float = SECONDS) -> None:
        """Grade answers.

        Args:
            workers: answers that are compared at once; None takes the number of cores.
            seconds: after which a comparison is given up and its answer is wrong.
        """
        num, self._seconds = workers or default_workers(), seconds
        super().__init__(Workers("crossdistill.eval.grading.math_worker", num, WORKER_LIMITS), num)

    def _grade_one(self, item: tuple[Problem, str]) -> Verdict:
        problem, response = item
        answer = last_answer(response)
        if answer is None:
            return Verdict(correct=False, reason="no answer is given")
        reasons = []
        for gold in accepted_answers(problem.reference):
            right, reason = self._compare(gold, answer)
            if right:
                return Verdict(correct=True, extracted=answer)
            reasons.append(reason)
        return Verdict(correct=False, extracted=answer, reason=next(filter(None, reasons), None))

    def _compare(self, gold: str, answer: str) -> tuple[bool, str | None]:
        decided = same(gold, answer) if len(answer) <= LONGEST_ANSWER else gold.strip() == answer.strip()
        return self._by_algebra(plain(gold), plain(answer)) if decided is None else (decided, None)

    def _by_algebra(self, gold: str, answer: str) -> tuple[bool, str | None]:
        try:
            verdict = self._workers.ask({"gold": gold, "answer": answer}, self._seconds)
        except EndedError as ended:
            return False, f"comparing {ended}"
        return verdict["equal"], verdict.get("reason")


def accepted_answers(reference: Any) -> list[str]:
    """The right answers of a reference, as text: one, or a list of them, as text or numbers.

    An answer that is itself in a box or after ``####``, as in GSM8K's solutions, is taken out of there.

    Example:
        >>> accepted_answers([5, 0.5, "2 + 3 = 5 #### 5"])
        ['5', '0.5', '5']
    """
    return [_as_text(answer) for answer in (reference if isinstance(reference, list) else [reference])]


def _as_text(answer: Any) -> str:
    if isinstance(answer, float) and math.isfinite(answer):
        return format(Decimal(repr(answer)), "f")
    text = str(answer)
    has_own_place = "####" in text or any(True for _ in boxes(text))
    return (last_answer(text) if has_own_place else None) or text
