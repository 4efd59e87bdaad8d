"""AIME, MATH-500 and GSM8K from rows of the form of their hub data sets."""

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.eval.tasks.instruction import BOXED
from tests.eval.tasks.files import write

AIME24 = {
    "id": 60,
    "problem": "Find the number of primes below $10$.",
    "solution": "They are 2, 3, 5, 7, so $\\boxed{004}$.",
    "answer": "004",
    "url": "https://example.org/1",
    "year": "2024",
}
AIME25 = {"problem": "Find $1 + 1$.", "answer": "2", "id": "0"}
MATH500 = {
    "problem": "Write $0.5$ as a fraction.",
    "solution": "It is $\\boxed{\\frac{1}{2}}$.",
    "answer": "\\frac{1}{2}",
    "subject": "Prealgebra",
    "level": 1,
    "unique_id": "test/prealgebra/1.json",
}
GSM8K = {
    "question": "Ann has 3 bags of 500 beans. How many beans are there?",
    "answer": "She has 3 * 500 = <<3*500=1500>>1500 beans.\n#### 1,500",
}


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("aime24", AIME24, ("60", AIME24["problem"], "004")),
        ("aime25", AIME25, ("0", AIME25["problem"], "2")),
        ("aime26", {**AIME25, "answer": 2}, ("0", AIME25["problem"], "2")),
        ("math500", MATH500, ("test/prealgebra/1.json", MATH500["problem"], "\\frac{1}{2}")),
        ("gsm8k", GSM8K, ("0", GSM8K["question"], "1500")),
    ],
)
def test_rows_of_the_hub(tmp_path, name, row, expected):
    path = write(tmp_path / "rows.jsonl", [row])
    problem_id, question, answer = expected
    assert get(name).problems(TaskOptions(source=path)) == [Problem(problem_id, f"{question}\n{BOXED}", answer)]


def test_the_instruction_may_be_replaced_or_left_out(tmp_path):
    path = write(tmp_path / "rows.jsonl", [AIME25])
    task = get("aime25")
    assert task.problems(TaskOptions(source=path, instruction="In words."))[0].prompt == "Find $1 + 1$.\nIn words."
    assert task.problems(TaskOptions(source=path, instruction=""))[0].prompt == "Find $1 + 1$."


@pytest.mark.parametrize("asked", [BOXED, "Answer within \\boxed{} please."])
def test_a_prompt_that_asks_for_a_box_is_left_as_it_is(tmp_path, asked):
    path = write(tmp_path / "rows.jsonl", [{"prompt": f"Find $1 + 1$. {asked}", "answer": 2}])
    (problem,) = get("aime25").problems(TaskOptions(source=path))
    assert problem.prompt == f"Find $1 + 1$. {asked}"


def test_a_box_that_is_part_of_the_problem_asks_for_nothing(tmp_path):
    question = "What belongs into $\\boxed{\\phantom{00}}$ if $1 + \\boxed{\\phantom{00}} = 2$?"
    path = write(tmp_path / "rows.jsonl", [{"problem": question, "answer": "1"}])
    assert get("math500").problems(TaskOptions(source=path))[0].prompt == f"{question}\n{BOXED}"


def test_rows_without_an_answer_are_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", [AIME25, {"problem": "Find $2 + 2$."}])
    with pytest.raises(InputError, match=r"^row 2 of .*rows.jsonl has no 'answer', only 'problem'\.$"):
        get("aime25").problems(TaskOptions(source=path))
