"""Which problems of a task are asked: limits, ids, parameters; and what tells them apart."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.digest import digest
from crossdistill.eval.grading import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import Task, TaskOptions


class Letters(Task):
    name = "letters"
    parameters = ("size", "case")

    def __init__(self, ids: Sequence[str] = "abcdefghij") -> None:
        self.ids = ids

    def all_problems(self, options: TaskOptions) -> list[Problem]:
        return [Problem(one, f"Say {one}.", one) for one in self.ids]

    def grader(self, options: TaskOptions) -> Grader:
        raise NotImplementedError


def ids(**options) -> str:
    return "".join(problem.id for problem in Letters().problems(TaskOptions(**options)))


def test_without_a_limit_all_problems_are_asked():
    assert ids() == "abcdefghij"


@pytest.mark.parametrize("limit", [1, 4, 10])
@pytest.mark.parametrize("seed", range(5))
def test_a_limit_draws_by_the_seed_and_keeps_the_order(limit, seed):
    drawn = ids(limit=limit, seed=seed)
    assert len(drawn) == limit
    assert list(drawn) == sorted({*drawn})
    assert drawn == ids(limit=limit, seed=seed)


def test_other_seeds_draw_other_problems_and_all_are_drawn_at_times():
    draws = [ids(limit=4, seed=seed) for seed in range(40)]
    assert len({*draws}) > 20
    counts = {one: sum(one in drawn for drawn in draws) for one in ids()}
    assert min(counts.values()) > 5  # of 16 expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 11}, r"^task 'letters' has 10 problems, fewer than the limit of 11: lower it\.$"),
        ({"limit": 0}, r"^the limit of task 'letters' is 0: give at least 1, or none for all problems\.$"),
        ({"parameters": {"sise": 3}}, r"^task 'letters' has no parameter 'sise'; it takes size, case\.$"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        ids(**options)


def test_two_problems_of_one_id_are_refused_even_if_the_limit_leaves_one_out():
    message = r"^problems 2 and 4 of task 'letters' both have the id 'b': give each its own\.$"
    with pytest.raises(InputError, match=message):
        Letters("abcb").problems(TaskOptions(limit=1))


def test_no_problems_are_refused():
    with pytest.raises(InputError, match=r"^task 'letters' has no problems: give it a source with at least one\.$"):
        Letters("").problems(TaskOptions())


# ---- digest ---------------------------------------------------------------------------------------------------------

PROBLEM = Problem("0", "What is 2 + 2?", {"b": ["4"], "a": 1})


def test_a_digest_is_known():
    """The value is part of the format: evaluations of different versions are compared by it."""
    assert digest([PROBLEM]) == sha256(b'["0", "What is 2 + 2?", {"a": 1, "b": ["4"]}]\n').hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        [Problem("1", PROBLEM.prompt, PROBLEM.reference)],
        [Problem("0", "What is 2 + 3?", PROBLEM.reference)],
        [Problem("0", PROBLEM.prompt, {"b": ["5"], "a": 1})],
        [Problem("0", [{"role": "user", "content": PROBLEM.prompt}], PROBLEM.reference)],
        [PROBLEM, PROBLEM],
        [],
    ],
)
def test_other_problems_have_another_digest(other):
    assert digest(other) != digest([PROBLEM])


def test_a_digest_depends_on_the_order_of_problems_but_not_of_keys():
    one, other = Letters("ab").problems(TaskOptions())
    assert digest([one, other]) != digest([other, one])
    assert digest([PROBLEM]) == digest([Problem("0", PROBLEM.prompt, {"a": 1, "b": ["4"]})])
