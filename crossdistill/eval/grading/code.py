"""Grading of programs, in a sandbox."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.grading import trial
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.program import find_program
from crossdistill.eval.grading.side_by_side import default_workers, side_by_side
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sandbox import choose

SECONDS = 4.0
"""The least time a test has: on a machine under load, right programs are slow."""
SLACK = 4
"""How many times as long as the reference solution a test may take, if that is more."""


class CodeGrader(Grader):
    """Runs the program of a response against the problem's tests.

    Example:
        >>> reference = {"kind": "io", "cases": [{"input": "2", "output": "4"}], "entry_point": None, "prefix": ""}
        >>> problem = Problem("0", "Print the square of the number.", {**reference, "solution": None})
        >>> with CodeGrader(unsandboxed=True, workers=1) as grader:
        ...     [verdict] = grader.grade([(problem, "print(int(input()) ** 2)")])
        >>> verdict.correct
        True
    """

    def __init__(self, unsandboxed: bool = False, sandbox: str | None = None, workers: int | None = None) -> None:
        """Grade programs.

        Args:
            unsandboxed: run them without a sandbox.
            sandbox: "bubblewrap" or "docker"; None takes bubblewrap.
            workers: programs that run at once; None takes the number of cores.

        Raises:
            InputError: there is no such sandbox.
        """
        self._sandbox = choose(sandbox, unsandboxed)
        self._workers = workers or default_workers()
        self._seconds: dict[str, float] = {}

    def check(self, problems: Sequence[Problem]) -> None:
        """Check that the sandbox works, and that each reference solution passes its own tests here.

        Raises:
            InputError: the sandbox cannot run, or a solution fails, as on a machine that is too slow.
        """
        self._sandbox.check()
        solved = [problem for problem in problems if problem.reference.get("solution") is not None]
        with ThreadPoolExecutor(self._workers) as threads:
            reasons = list(side_by_side(threads, self._check_one, solved, 2 * self._workers))
        failed = [
            f"{problem.id} ({reason})" for problem, reason in zip(solved, reasons, strict=True) if reason is not None
        ]
        if failed:
            more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
            raise InputError(
                f"{len(failed)} of {len(solved)} reference solutions fail on this machine, so it would grade wrongly: "
                f"{', '.join(failed[:3])}{more}; free the machine or lower the number of workers, and check the tests."
            )

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        with ThreadPoolExecutor(self._workers) as threads:
            yield from side_by_side(threads, self._grade_one, responses, 2 * self._workers)

    def _check_one(self, problem: Problem) -> str | None:
        """Why a reference solution fails, or None; notes how long it takes."""
        begin = time.monotonic()
        reason = self._failure(problem.reference["solution"], problem)
        self._seconds[problem.id] = max(SECONDS, SLACK * (time.monotonic() - begin))
        return reason

    def _grade_one(self, item: tuple[Problem, str]) -> Verdict:
        problem, response = item
        reference = problem.reference
        program = find_program(response, reference.get("prefix", ""), reference.get("entry_point"))
        if program is None:
            return Verdict(correct=False, reason="no program")
        reason = self._failure(program, problem)
        return Verdict(correct=reason is None, extracted=program, reason=reason)

    def _failure(self, program: str, problem: Problem) -> str | None:
        reference: dict[str, Any] = {"prefix": "", "entry_point": None, **problem.reference}
        seconds = self._seconds.get(problem.id, SECONDS)
        if reference["kind"] == "asserts":
            run = trial.by_asserts
        else:
            run = trial.by_output if reference["entry_point"] is None else trial.by_calls
        try:
            run(self._sandbox, program, reference, seconds)
        except trial.Failed as failed:
            return str(failed)
        return None
