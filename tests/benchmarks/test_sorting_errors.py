"""What is wrong with sorted lists."""

import pytest

from benchmarks.arena.rare_words import SortWords
from benchmarks.arena.sorting_errors import shares
from crossdistill.eval.task import TaskOptions


def test_the_names_of_problems_are_read():
    """A word too few, a letter too many and another order, of words as the task lists them."""
    problems = SortWords().problems(TaskOptions(parameters={"split": "test", "size": 5}))
    names, right = [one.id for one in problems], [one.reference for one in problems]
    backward = ", ".join(reversed(right[1].split(", ")))
    responses = [right[0], backward, right[2] + "x", right[3].split(", ")[0], f" {right[4]}\n"]
    rows = [
        {"problem": name, "response": response, "correct": response.strip() == answer}
        for name, response, answer in zip(names, responses, right, strict=True)
    ]
    assert shares(rows) == pytest.approx((3 / 5, 2 / 3))


def test_nothing_is_no_share():
    assert shares([]) == (0.0, 0.0)
