"""Grading of programs, in a sandbox."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from crossdistill.errors import InputError
from crossdistill.eval.grading import trial
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.program import find_program
from crossdistill.eval.grading.side_by_side import default_workers, side_by_side
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sandbox import Interruptible, Sandbox, choose

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

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
        reasons = list(self._side_by_side(self._check_one, solved))
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
        yield from self._side_by_side(self._grade_one, responses)

    def _side_by_side(self, function: Callable[[Sandbox, _Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        sandbox, num = Interruptible(self._sandbox), self._workers
        return side_by_side(partial(function, sandbox), items, threads=num, ahead=2 * num, end=sandbox.interrupt)

    def _check_one(self, sandbox: Sandbox, problem: Problem) -> str | None:
        """Why a reference solution fails, or None; notes how long it takes."""
        begin = time.monotonic()
        reason = self._failure(sandbox, problem.reference["solution"], problem)
        self._seconds[problem.id] = max(SECONDS, SLACK * (time.monotonic() - begin))
        return reason

    def _grade_one(self, sandbox: Sandbox, item: tuple[Problem, str]) -> Verdict:
        problem, response = item
        reference = problem.reference
        program = find_program(response, reference.get("prefix", ""), reference.get("entry_point"))
        if program is None:
            return Verdict(correct=False, reason="no program")
        reason = self._failure(sandbox, program, problem)
        return Verdict(correct=reason is None, extracted=program, reason=reason)

    def _failure(self, sandbox: Sandbox, program: str, problem: Problem) -> str | None:
        reference: dict[str, Any] = {"prefix": "", "entry_point": None, **problem.reference}
        seconds = self._seconds.get(problem.id, SECONDS)
        if reference["kind"] == "asserts":
            run = trial.by_asserts
        else:
            run = trial.by_output if reference["entry_point"] is None else trial.by_calls
        try:
            run(sandbox, program, reference, seconds)
        except trial.Failed as failed:
            return str(failed)
        return None
