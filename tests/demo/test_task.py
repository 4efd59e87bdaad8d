"""The demo's task: number words, splits and grading."""

import pytest

from crossdistill.demo.task import grade, make_problem, number_words, problems


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (85, "eighty-five"),
        (500, "five hundred"),
        (341, "three hundred forty-one"),
    ],
)
def test_number_words(number, words):
    assert number_words(number) == words


def test_a_worked_sum():
    problem = make_problem(184, 357)
    assert problem.prompt == "one hundred eighty-four plus three hundred fifty-seven"
    assert problem.solution == "four hundred and one hundred thirty and eleven is five hundred forty-one"
    assert grade(problem, problem.solution)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "five hundred forty-one",
        "four hundred and one hundred is five hundred forty",
        "is five hundred forty-one is one",
    ],
)
def test_wrong_answers(response):
    assert not grade(make_problem(184, 357), response)


def test_splits_share_no_problem():
    prompts = {
        split: {problem.prompt for problem in problems(split, 2000, seed=3)} for split in ("train", "test", "sft")
    }
    assert all(len(found) == 2000 for found in prompts.values())
    assert not prompts["train"] & prompts["test"]
    assert not prompts["sft"] & (prompts["train"] | prompts["test"])
