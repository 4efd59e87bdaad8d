"""Which prompts count as problems of the evaluation."""

import doctest

import pytest

from recipes.paper import overlap
from recipes.paper.overlap import LENGTH, Overlap

PROBLEM = "Find the number of ordered pairs $(a, b)$ of integers such that $a + b = 12$ and both are primes."
OVERLAP = Overlap({"aime24": [PROBLEM], "short": ["What is 2 + 2?"], "empty": ["$$", ""]})


@pytest.mark.parametrize(
    "prompt",
    [
        PROBLEM,
        PROBLEM.upper(),
        f"Solve this.\n\n{PROBLEM}\nPut your final answer within \\boxed{{}}.",
        PROBLEM.replace("$", r"\(").replace(" ", "\n"),
        PROBLEM.replace("both are primes", "they are odd"),  # most of it is there
    ],
)
def test_the_problem_in_any_dress_is_found(prompt):
    assert OVERLAP.task_of(prompt) == "aime24"


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Find the number of ordered pairs of primes.",
        "Find the number of ordered pairs (a, b) of even numbers below a hundred whose sum is a square, and prove it.",
        "What is 2 + 3?",
        "2 What is + 2",
    ],
)
def test_another_problem_is_not(prompt):
    assert OVERLAP.task_of(prompt) is None


def test_a_short_problem_is_one_sequence():
    assert OVERLAP.task_of("Be brief: what is 2 + 2, please?") == "short"
    assert len(["What", "is", "2", "2"]) < LENGTH


def test_half_of_the_sequences_are_asked_for():
    words = [f"w{number}" for number in range(LENGTH + 9)]  # ten sequences
    tenfold = Overlap({"task": [" ".join(words)]})
    assert tenfold.task_of(" ".join(words[: LENGTH + 4])) == "task"  # five of them
    assert tenfold.task_of(" ".join(words[: LENGTH + 3])) is None
    assert Overlap({}).task_of("anything") is None


def test_the_example_runs():
    result = doctest.testmod(overlap)
    assert (result.failed, result.attempted > 0) == (0, True)
