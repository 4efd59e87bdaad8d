"""After Ctrl-C nothing is graded any further."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.code import CodeGrader
from crossdistill.eval.grading.math_answer import MathGrader
from crossdistill.eval.grading.side_by_side import side_by_side
from crossdistill.eval.grading.workers import Workers
from crossdistill.eval.problem import Problem
from crossdistill.eval.sandbox import INTERRUPTED, Interruptible, Limits, Outcome, Process, Program, choose

ENDLESS_SUM = r"\boxed{\sum_{n=1}^{10^{12}} \frac{1}{n^n}}"
ENDLESS = "while True: pass"


def interrupted(problem: Problem, response: str) -> Iterator[tuple[Problem, str]]:
    others = children()
    yield problem, response
    while not children() - others:
        pass
    raise KeyboardInterrupt


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """How processes ended that were interrupted."""
    outcomes: list[Outcome] = []
    interrupt = Process.interrupt

    def noted(self: Process) -> None:
        interrupt(self)
        outcomes.append(self.finish())

    monkeypatch.setattr(Process, "interrupt", noted)
    return outcomes


@pytest.mark.parametrize(
    ("grader", "reference", "response"),
    [
        (MathGrader(workers=1), "5", ENDLESS_SUM),
        (CodeGrader(unsandboxed=True, workers=1), {"kind": "io", "cases": [{"input": "", "output": ""}]}, ENDLESS),
        (
            CodeGrader(unsandboxed=True, workers=1),
            {"kind": "asserts", "tests": "f()", "entry_point": "f"},
            f"def f():\n    {ENDLESS}",
        ),
    ],
)
def test_what_is_being_graded_is_ended(grader: Grader, reference: Any, response: str, ended: list[Outcome]) -> None:
    problem = Problem("0", "", reference)
    with grader:
        with pytest.raises(KeyboardInterrupt):
            list(grader.grade(interrupted(problem, response)))
        assert {outcome.limit for outcome in ended} == {INTERRUPTED}
        assert len(list(grader.grade([(problem, "Nothing.")]))) == 1


def test_a_question_is_given_up_and_the_next_one_is_answered() -> None:
    workers = Workers("crossdistill.eval.grading.math_worker", 1, Limits(seconds=600, memory=4 << 30, processes=64))
    simple = {"gold": "2x", "answer": "x+x"}
    assert workers.ask(simple, 60)["equal"]
    with ThreadPoolExecutor(1) as threads:
        endless = threads.submit(workers.ask, {"gold": "5", "answer": ENDLESS_SUM}, 60)
        while not endless.running():
            pass
        workers.interrupt()
        with pytest.raises(CancelledError):
            endless.result()
    with pytest.raises(CancelledError):
        workers.ask(simple, 60)
    workers.resume()
    assert workers.ask(simple, 60)["equal"]
    workers.close()


def test_an_interrupted_sandbox_ends_what_runs_and_what_is_started_later() -> None:
    sandbox = Interruptible(choose(unsandboxed=True))
    before = sandbox.start(Program(ENDLESS), Limits(seconds=60, cpu_seconds=60))
    sandbox.interrupt()
    after = sandbox.start(Program(ENDLESS), Limits(seconds=60, cpu_seconds=60))
    assert [process.finish().limit for process in (before, after)] == [INTERRUPTED] * 2


@pytest.mark.parametrize("is_closed", [True, False])
def test_no_result_is_computed_that_nobody_wants(is_closed: bool) -> None:
    calls: list[int] = []

    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    results = side_by_side(abs, items(), threads=1, ahead=2, end=lambda: calls.append(1))
    assert next(results) == 0
    if is_closed:
        results.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(KeyboardInterrupt):
            list(results)
    assert calls == [1]


def test_results_that_are_all_wanted_end_nothing() -> None:
    calls: list[int] = []
    assert list(side_by_side(abs, [-1, 2], threads=1, ahead=2, end=lambda: calls.append(1))) == [1, 2]
    assert not calls


def test_a_file_of_the_users_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be called as a module of the standard library, or as math-verify."""
    for name in ("re", "math_verify", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with MathGrader(workers=1) as grader:
        [verdict] = grader.grade([(Problem("0", "", "2x"), r"\boxed{x+x}")])
    assert verdict.correct
