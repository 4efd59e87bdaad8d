"""Problems of reasoning-gym, and grading by its verifiers: both happen in processes of their own."""

import json
import re
from collections.abc import Mapping
from typing import Any

from crossdistill.eval.grading.by_workers import WORKER_LIMITS, GraderByWorkers
from crossdistill.eval.grading.side_by_side import default_workers
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.grading.workers import EndedError, Workers
from crossdistill.eval.problem import Problem

GENERATING_SECONDS = 300.0
"""For one problem."""
SECONDS = 30.0
"""For one verdict; most take a thousandth of a second, an integral may take several."""
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def processes(generator: str, settings: Mapping[str, Any], num: int) -> Workers:
    """Processes that make problems of a generator, the same ones each time, and verify answers.

    Args:
        generator: its name.
        settings: its configuration.
        num: processes at once.
    """
    module = "crossdistill.eval.grading.reasoning_gym_worker"
    return Workers(module, num, WORKER_LIMITS, (generator, json.dumps(dict(settings))), {"PYTHONHASHSEED": "0"})


class ReasoningGymGrader(GraderByWorkers):
    """Takes the last answer between ``<answer>`` and ``</answer>``; right is what the verifier gives its full score.

    Example:
        >>> problem = Problem("0-0", "...", {"index": 0})
        >>> with ReasoningGymGrader("chain_sum", {"seed": 0, "size": 1}, workers=1) as grader:
        ...     [verdict] = grader.grade([(problem, "It is <answer>none</answer>.")])
        >>> verdict.correct, verdict.extracted
        (False, 'none')
    """

    def __init__(
        self, generator: str, settings: Mapping[str, Any], workers: int | None = None, seconds: float = SECONDS
    ) -> None:
        """Grade answers.

        Args:
            generator: its name.
            settings: its configuration, with the seed.
            workers: answers that are verified at once; None takes the number of cores.
            seconds: after which verifying is given up and the answer is wrong.
        """
        num, self._seconds = workers or default_workers(), seconds
        super().__init__(processes(generator, settings, num), num)

    def _grade_one(self, item: tuple[Problem, str]) -> Verdict:
        problem, response = item
        answers = _ANSWER.findall(response)
        if not answers:
            return Verdict(correct=False, reason="no answer between <answer> and </answer>")
        answer = answers[-1].strip()
        try:
            said = self._workers.ask({"index": problem.reference["index"], "given": answer}, self._seconds)
        except EndedError as ended:
            return Verdict(correct=False, extracted=answer, reason=f"verifying {ended}")
        return Verdict(said["correct"], extracted=answer, reason=said.get("reason"))
