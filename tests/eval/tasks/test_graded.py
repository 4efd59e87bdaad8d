"""Tasks from end to end: what is right is graded right, what is not is not, by the grader that each task names."""

from pathlib import Path

import pytest

from crossdistill.eval.grading import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from tests.eval.tasks import test_gpqa, test_livecodebench, test_math_tasks, test_programs
from tests.eval.tasks.files import Rows, write

BLOCK = "Here it is:\n\n```python\n{}\n```\n"


def graded(folder: Path, name: str, rows: Rows, responses: list[str]) -> list[Verdict]:
    """Verdicts on responses to the first problem of these rows."""
    path = write(folder / "rows.jsonl", rows)
    task = get(str(path) if name == "own" else name)
    options = TaskOptions(source=path, workers=1, unsandboxed=True)  # the programs are ours
    problem: Problem = task.problems(options)[0]
    with task.grader(options) as grader:
        grader.check([problem])
        return list(grader.grade((problem, response) for response in responses))


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("aime24", test_math_tasks.AIME24, [r"\boxed{4}", r"\boxed{004}"], [r"\boxed{40}", "4", ""]),
        ("aime25", test_math_tasks.AIME25, [r"so $\boxed{2}$."], [r"\boxed{2}? No: \boxed{3}"]),
        ("math500", test_math_tasks.MATH500, [r"\boxed{\frac12}", r"\boxed{0.5}"], [r"\boxed{2}"]),
        ("gsm8k", test_math_tasks.GSM8K, [r"\boxed{1500}", r"\boxed{1,500}"], [r"\boxed{500}"]),
        ("own", {"prompt": "A half?", "answer": 0.5}, [r"\boxed{1/2}"], [r"\boxed{5}"]),
        ("own", {"prompt": "Ten to the minus five?", "answer": 1e-05}, [r"\boxed{0.00001}"], [r"\boxed{1}"]),
        ("own", {"prompt": "Is 2 prime?", "answer": True}, [r"\boxed{True}"], [r"\boxed{False}"]),
        ("own", {"prompt": "2 + 2?", "answer": [4, "four"]}, [r"\boxed{4}", r"\boxed{four}"], [r"\boxed{five}"]),
    ],
)
def test_mathematics(tmp_path, name, row, right, wrong):
    verdicts = graded(tmp_path, name, [row], [*right, *wrong])
    assert [verdict.correct for verdict in verdicts] == [True] * len(right) + [False] * len(wrong)


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("gpqa_diamond", test_gpqa.row(0), "right"),
        ("own", {"prompt": "2 + 2?", "answer": "4", "choices": ["3", "4", "5", "6", "7"]}, "4"),
    ],
)
def test_choices(tmp_path, name, row, text):
    path = write(tmp_path / "rows.jsonl", [row])
    (problem,) = get(str(path) if name == "own" else name).problems(TaskOptions(source=path))
    letters = test_gpqa.choices(problem.prompt)
    verdicts = graded(tmp_path, name, [row], [f"Thus\nAnswer: {letter}" for letter in letters])
    assert [verdict.correct for verdict in verdicts] == [choice == text for choice in letters.values()]
    assert [verdict.extracted for verdict in verdicts] == [*letters]


ADD = "def add(a, b):\n    return a {} b"
METHOD = "class Solution:\n    def add(self, numbers: List[int]) -> int:\n        return {}(numbers)"
STDIN = "first, second = map(int, input().split())\nprint(first {} second)"
FUNCTIONAL = test_livecodebench.row(
    1,
    "2024-08-01",
    "add",
    public_test_cases='[{"input": "[1, 2]", "output": "3", "testtype": "functional"}]',
    private_test_cases='[{"input": "[]", "output": "0", "testtype": "functional"}]',
)
TOTAL = "def total(numbers):\n    return {}(numbers)"


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("humaneval", test_programs.HUMANEVAL, TOTAL.format("sum"), TOTAL.format("len")),
        ("humaneval_plus", test_programs.HUMANEVAL, TOTAL.format("sum"), TOTAL.format("max")),
        ("mbpp", test_programs.MBPP, ADD.format("+"), ADD.format("-")),
        ("mbpp_plus", test_programs.PLUS, ADD.format("+"), "def add(a, b):\n    return {1: 3, 0: 0}.get(a)"),
        ("livecodebench", test_livecodebench.ROWS[0], STDIN.format("+"), STDIN.format("*")),
        ("livecodebench", FUNCTIONAL, METHOD.format("sum"), METHOD.format("len")),
        ("own", {"prompt": "Add.", "tests": "assert add(1, 2) == 3"}, ADD.format("+"), ADD.format("-")),
        ("own", {"prompt": "Add.", "tests": [{"input": "1 2", "output": "3"}]}, STDIN.format("+"), STDIN.format("-")),
        (
            "own",
            {"prompt": "Add.", "tests": [{"input": "1\n2", "output": "3"}], "entry_point": "add"},
            ADD.format("+"),
            ADD.format("-"),
        ),
    ],
)
def test_programs_of_every_task(tmp_path, name, row, right, wrong):
    verdicts = graded(tmp_path, name, [row], [BLOCK.format(right), BLOCK.format(wrong), "I cannot say.", ""])
    assert [verdict.correct for verdict in verdicts] == [True, False, False, False], verdicts
    assert verdicts[0].parsed
    assert not verdicts[-1].parsed


def test_a_base_model_that_goes_on_from_the_prompt(tmp_path):
    right, wrong = graded(tmp_path, "humaneval", [test_programs.HUMANEVAL], ["    return sum(numbers)\n", "    pass\n"])
    assert right.correct
    assert not wrong.correct
