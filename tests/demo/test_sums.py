"""The demo's sums as a task of the evaluation."""

from crossdistill.demo.run import message
from crossdistill.demo.sums import Sums
from crossdistill.demo.task import problems
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get


def test_the_problems_are_those_that_the_demo_holds_out():
    task = get("crossdistill.demo.sums:Sums")
    drawn = problems("test", 400, seed=1)
    asked = task.problems(TaskOptions(seed=7))
    assert [(one.prompt, one.reference) for one in asked] == [(message(one), one.answer) for one in drawn]


def test_worked_solutions_are_right_and_others_are_not():
    task = Sums(num_problems=20)
    drawn, asked = problems("test", 20, seed=1), task.problems(TaskOptions())
    shifted = [*drawn[1:], drawn[0]]
    with task.grader(TaskOptions()) as grader:
        right = list(grader.grade(zip(asked, (one.solution for one in drawn), strict=True)))
        wrong = list(grader.grade(zip(asked, (one.solution for one in shifted), strict=True)))
        [unparsed] = grader.grade([(asked[0], "I cannot say")])
    assert [verdict.extracted for verdict in right] == [one.answer for one in drawn]
    assert all(verdict.correct for verdict in right)
    assert not any(verdict.correct for verdict in wrong)
    assert not unparsed.correct
    assert not unparsed.parsed
