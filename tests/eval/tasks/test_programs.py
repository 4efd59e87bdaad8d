"""HumanEval, MBPP and their versions with more tests, from rows of the form of their hub data sets."""

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.eval.tasks.instruction import PROGRAM
from tests.eval.tasks.files import write

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """The sum."""\n',
    "canonical_solution": "    return sum(numbers)\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n",
    "entry_point": "total",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to add two numbers.",
    "code": "def helper(a):\r\n    return a\r\ndef add(a, b):\r\n    return helper(a) + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
SANITISED = {
    "source_file": "Benchmark",
    "task_id": 11,
    "prompt": "Write a function to add two numbers.",
    "code": MBPP["code"],
    "test_imports": ["import math", "import re"],
    "test_list": MBPP["test_list"],
}
PLUS = {
    **SANITISED,
    "test_imports": [],
    "test": "import numpy as np\n\ninputs = [[1, 2], [5, 6]]\nresults = [3, 11]\n"
    "for inp, exp in zip(inputs, results):\n    assert add(*inp) == exp\n",
}


def problem(tmp_path, name, row, **options):
    (found,) = get(name).problems(TaskOptions(source=write(tmp_path / "rows.jsonl", [row]), **options))
    return found


def passes(reference, program: str) -> bool:
    """What a grader does, without a sandbox: these programs are ours."""
    scope: dict[str, object] = {}
    try:
        exec(f"{reference['prefix']}\n{program}\n{reference['tests']}", scope)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", ["humaneval", "humaneval_plus"])
def test_humaneval(tmp_path, name):
    found = problem(tmp_path, name, HUMANEVAL)
    assert found.id == "HumanEval/0"
    assert found.prompt == f"Complete this function:\n\n```python\n{HUMANEVAL['prompt']}```\n\n{PROGRAM}"
    assert found.reference["prefix"] == HUMANEVAL["prompt"]
    assert found.reference["entry_point"] == "total"
    assert found.reference["solution"] == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]
    assert passes(found.reference, found.reference["solution"])
    assert not passes(found.reference, "def total(numbers):\n    return 0")


def test_a_base_model_goes_on_from_the_start_of_the_function(tmp_path):
    assert problem(tmp_path, "humaneval", HUMANEVAL, instruction="").prompt == HUMANEVAL["prompt"]


@pytest.mark.parametrize(
    ("name", "row", "setup"),
    [
        ("mbpp", MBPP, "import math\n"),
        ("mbpp", SANITISED, "import math\nimport re\n"),
        ("mbpp", {**MBPP, "test_setup_code": ""}, ""),
        ("mbpp_plus", PLUS, ""),
    ],
)
def test_mbpp(tmp_path, name, row, setup):
    found = problem(tmp_path, name, row)
    assert found.id == "11"
    assert found.prompt == (
        "Write a function to add two numbers.\n\nThe program has to pass these tests:\n\n```python\n"
        f"assert add(1, 2) == 3\nassert add(0, 0) == 0\n```\n\n{PROGRAM}"
    )
    assert found.reference["kind"] == "asserts"
    assert found.reference["entry_point"] == "add"
    assert found.reference["prefix"] == setup
    assert passes(found.reference, found.reference["solution"])
    assert not passes(found.reference, "def add(a, b):\n    return a - b")


def test_the_additional_tests_are_run_and_not_shown(tmp_path):
    found = problem(tmp_path, "mbpp_plus", PLUS)
    assert "11" not in found.prompt
    assert not passes(found.reference, "def add(a, b):\n    return {1: 3, 5: 0}.get(a)")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("humaneval", {**HUMANEVAL, "test": None}, r"row 1 of .* has no 'test', only 'task_id'"),
        ("mbpp", {**MBPP, "test_list": []}, r"row 1 of .* has \[\] as 'test_list': give a list of assertions"),
        ("mbpp", {**MBPP, "test_list": "assert"}, r"has 'assert' as 'test_list': give a list of assertions"),
        ("mbpp", {**MBPP, "code": "def add(:"}, r"has a 'code' that is no Python \(.*\): repair it"),
        ("mbpp", {**MBPP, "test_list": ["assert mul(1, 1)"]}, "has tests that call no function of its 'code': repair"),
    ],
)
def test_refused(tmp_path, name, row, message):
    with pytest.raises(InputError, match=message):
        problem(tmp_path, name, row)
