"""GPQA-Diamond from rows of the form of its hub data set: the choices are shuffled by the seed."""

from collections import Counter

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.eval.tasks.instruction import LETTER
from tests.eval.tasks.files import write

RIGHT, WRONG = "right", ("wrong 1", "wrong 2", "wrong 3")


def row(number: int) -> dict[str, str]:
    wrong = {f"Incorrect Answer {place}": f"{text} \n" for place, text in enumerate(WRONG, 1)}
    return {
        "Record ID": f"rec{number}",
        "Question": f"Which one is right, {number}?\n",
        "Correct Answer": f"{RIGHT}\n",
        **wrong,
        "High-level domain": "Physics",
    }


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "gpqa_diamond.csv", [row(number) for number in range(400)])


def problems(path, **options):
    return get("gpqa_diamond").problems(TaskOptions(source=path, **options))


def choices(prompt: str) -> dict[str, str]:
    return dict(line.split(") ", 1) for line in prompt.splitlines() if line[1:3] == ") ")


def test_the_letter_is_that_of_the_right_choice(path):
    for problem in problems(path):
        listed = choices(problem.prompt)
        assert list(listed) == list("ABCD")
        assert {*listed.values()} == {RIGHT, *WRONG}
        assert listed[problem.reference] == RIGHT


def test_all_letters_are_right_equally_often(path):
    counts = Counter(problem.reference for problem in problems(path))
    assert {*counts} == {*"ABCD"}
    assert min(counts.values()) > 70  # 100 expected, standard deviation 8.7


def test_another_seed_is_another_order_and_the_same_is_the_same(path):
    assert problems(path, seed=1) == problems(path, seed=1)
    one, other = problems(path, seed=1), problems(path, seed=2)
    assert sum(first.reference == second.reference for first, second in zip(one, other, strict=True)) < 150


def test_a_limit_does_not_change_the_order_of_choices(path):
    every = {problem.id: problem for problem in problems(path)}
    assert all(every[problem.id] == problem for problem in problems(path, limit=20))


def test_the_prompt(path):
    first = problems(path)[0]
    assert first.id == "rec0"
    assert first.prompt.startswith("Which one is right, 0?\n\nA) ")
    assert first.prompt.endswith(f"\n\n{LETTER}")
    assert problems(path, instruction="")[0].prompt == first.prompt.removesuffix(f"\n\n{LETTER}")


def test_a_missing_choice_is_refused(tmp_path):
    path = write(tmp_path / "rows.csv", [{**row(0), "Incorrect Answer 3": ""}])
    with pytest.raises(InputError, match=r"^row 1 of .*rows.csv has an empty 'Incorrect Answer 3': fill it"):
        problems(path)
