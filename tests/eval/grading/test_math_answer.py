"""Answers with known verdicts; comparisons that never end; golds of all types."""

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crossdistill.eval.grading.math_answer import MathGrader, accepted_answers
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from tests.eval.grading.recorded import rows


@pytest.fixture(scope="module")
def grader() -> Iterator[MathGrader]:
    with MathGrader(workers=2) as grader:
        yield grader


def verdicts(grader: MathGrader, pairs: list[tuple[object, str]]) -> list[Verdict]:
    return list(grader.grade((Problem(str(number), "", gold), text) for number, (gold, text) in enumerate(pairs)))


def workers() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_answers_with_known_verdicts(grader: MathGrader) -> None:
    table = rows("answers")
    assert len(table) > 300
    found = verdicts(grader, [(gold, rf"So it is $\boxed{{{answer}}}$.") for gold, answer, _ in table])
    differing = [row for row, verdict in zip(table, found, strict=True) if verdict.correct is not (row[2] == "right")]
    assert not differing


def test_the_table_of_the_documentation(grader: MathGrader) -> None:
    page = (Path(__file__).parents[3] / "docs" / "grading.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(.+?)` \| (`.+`) \| (right|wrong) \|", page, re.MULTILINE)
    table = [(gold, answer, verdict) for gold, cell, verdict in lines for answer in re.findall("`(.+?)`", cell)]
    assert len(table) > 50
    found = verdicts(grader, [(gold, rf"\boxed{{{answer}}}") for gold, answer, _ in table])
    assert not [row for row, verdict in zip(table, found, strict=True) if verdict.correct is not (row[2] == "right")]


def test_a_right_answer_is_right_beside_a_wrong_one(grader: MathGrader) -> None:
    """Each gold against itself, and against the gold of another class of answers."""
    golds = list(dict.fromkeys(gold for gold, _, _ in rows("answers")))
    assert all(verdict.correct for verdict in verdicts(grader, [(gold, rf"\boxed{{{gold}}}") for gold in golds]))
    assert not any(verdict.correct for verdict in verdicts(grader, [(gold, r"\boxed{-98765}") for gold in golds]))


def test_responses_with_known_answers(grader: MathGrader) -> None:
    table = rows("responses")
    assert len(table) > 80
    found = verdicts(grader, [(gold, response) for gold, response, _, _ in table])
    said = [
        ["right" if verdict.correct else "wrong" if verdict.parsed else "unread", verdict.extracted or ""]
        for verdict in found
    ]
    assert not [(row, one) for row, one in zip(table, said, strict=True) if row[2:] != one]


def test_why_nothing_was_read(grader: MathGrader) -> None:
    [verdict] = verdicts(grader, [("4", "It is 4.")])
    assert verdict == Verdict(correct=False, extracted=None, reason="no answer is given")


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (5, "5", True),
        (5, "6", False),
        (5.0, "5", True),
        (0.5, r"\frac{1}{2}", True),
        (1e-07, "0.0000001", True),
        (1e20, "100000000000000000000", True),
        ([5, "7"], "7", True),
        (["5", 7], "5", True),
        ([5, 7], "6", False),
        (["x+1", "y+1"], "1+y", True),
        ([], "5", False),
        (10**30, "1" + "0" * 30, True),
    ],
)
def test_golds_of_other_types(grader: MathGrader, gold: object, answer: str, right: bool) -> None:
    [verdict] = verdicts(grader, [(gold, rf"\boxed{{{answer}}}")])
    assert verdict.correct is right


def test_accepted_answers() -> None:
    assert accepted_answers("2 + 3 = 5\n#### 5") == ["5"]
    assert accepted_answers([1, 0.25, r"\boxed{x}", ""]) == ["1", "0.25", "x", ""]


def test_an_empty_gold_is_never_met(grader: MathGrader) -> None:
    assert not any(verdict.correct for verdict in verdicts(grader, [("", r"\boxed{5}"), ("", r"\boxed{\,}")]))


@pytest.mark.slow
def test_very_long_answers_are_wrong_at_once() -> None:
    texts = ["9" * 200_000, "{" * 5_000 + "}" * 5_000, "(" * 900, "1+" * 450 + "1", r"\frac{1}{2}" * 5_000]
    with MathGrader(workers=1, seconds=1.0) as grader:
        found = verdicts(grader, [("5", rf"\boxed{{{text}}}") for text in texts])
    assert not any(verdict.correct for verdict in found)


def test_order_is_kept(grader: MathGrader) -> None:
    pairs: list[tuple[object, str]] = [(str(n), rf"\boxed{{{n // 2}+{n - n // 2}}}") for n in range(1, 40)]
    pairs[7] = ("3", r"\boxed{x}")
    assert [verdict.correct for verdict in verdicts(grader, pairs)] == [n != 8 for n in range(1, 40)]


@pytest.mark.slow
def test_a_comparison_that_never_ends_is_wrong_and_its_worker_is_replaced() -> None:
    endless = r"\sum_{n=1}^{10^{12}} \frac{1}{n^n}"
    others = workers()
    with MathGrader(workers=1, seconds=1.0) as grader:
        found = verdicts(grader, [("2x", r"\boxed{x+x}"), ("1", rf"\boxed{{{endless}}}"), ("2y", r"\boxed{y+y}")])
        assert len(workers() - others) == 1
    assert [verdict.correct for verdict in found] == [True, False, True]
    assert found[1].reason == "comparing timed out"
    assert found[1].extracted == endless
    assert not workers() - others


@pytest.mark.slow
def test_powers_of_powers_do_not_fill_the_memory() -> None:
    with MathGrader(workers=1, seconds=3.0) as grader:
        found = verdicts(grader, [("1", r"\boxed{9^{9^{9^{9}}}}"), ("2x", r"\boxed{x+x}")])
    assert [verdict.correct for verdict in found] == [False, True]


@pytest.mark.slow
def test_a_killed_worker_costs_one_answer() -> None:
    others = workers()
    with MathGrader(workers=1) as grader:
        stream = grader.grade((Problem("", "", "2x"), r"\boxed{x+x}") for _ in range(40))
        assert next(stream).correct
        (worker,) = workers() - others
        worker.kill()
        found = list(stream)
    assert sum(not verdict.correct for verdict in found) <= 1
    assert found[-1].correct


def test_it_works_in_a_thread_and_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """math-verify's own limits of time do not: they are signals."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.chdir(tmp_path)
    with MathGrader(workers=1) as grader, ThreadPoolExecutor(1) as threads:
        [verdict] = threads.submit(verdicts, grader, [("2x", r"\boxed{x+x}")]).result()
    assert verdict.correct
