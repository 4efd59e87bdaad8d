"""Files of one's own: answers of every type, choices, tests, and what is refused."""

import json

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.eval.tasks.instruction import BOXED, LETTER, PROGRAM
from tests.eval.tasks.files import write

QUESTION = "What is 2 + 2?"


def problems(path, **options):
    return get(str(path)).problems(TaskOptions(**options))


def problem(tmp_path, row, **options):
    (found,) = problems(write(tmp_path / "mine.jsonl", [row]), **options)
    return found


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_prompts_and_answers(tmp_path, suffix):
    rows = [{"prompt": QUESTION, "answer": "4"}, {"prompt": "What is 3 + 3?", "answer": "6"}]
    assert problems(write(tmp_path / f"mine{suffix}", rows)) == [
        Problem("0", f"{QUESTION}\n{BOXED}", "4"),
        Problem("1", f"What is 3 + 3?\n{BOXED}", "6"),
    ]


@pytest.mark.parametrize("column", ["prompt", "question", "problem"])
def test_names_of_the_prompt(tmp_path, column):
    assert problem(tmp_path, {column: QUESTION, "answer": "4"}, instruction="").prompt == QUESTION


def test_messages(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    found = problem(tmp_path, {"prompt": messages, "answer": "4"})
    assert found.prompt == [messages[0], {"role": "user", "content": f"{QUESTION}\n{BOXED}"}]


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("4", "4"),
        (" 4\n", "4"),
        (4, "4"),
        (-0.5, "-0.5"),
        (4.0, "4.0"),
        (1e-05, "0.00001"),
        (10**30, str(10**30)),
        (True, "True"),
        (False, "False"),
        (["4", "four"], ["4", "four"]),
        ([4, 4.0, "IV"], ["4", "4.0", "IV"]),
        ("2 + 2 = <<2+2=4>>4\n#### 4", "4"),
        ("0", "0"),
        (0, "0"),
    ],
)
def test_answers_of_every_type(tmp_path, answer, reference):
    assert problem(tmp_path, {"prompt": QUESTION, "answer": answer}).reference == reference


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (" ", "has an empty 'answer': fill it, or leave the row out"),
        ("steps\n#### ", "has an empty 'answer': fill it"),
        ([], "has an empty list as 'answer': give at least one accepted answer"),
        (["4", ""], "has an empty 'answer': fill it"),
        (
            {"value": 4},
            r"has \{'value': 4\} as 'answer': give a text, a finite number, true or false, or a list of them",
        ),
        ([[4]], r"has \[4\] as 'answer': give a text"),
        ([None], "has None as 'answer': give a text"),
        (float("nan"), "has nan as 'answer': give a text, a finite number"),
        (float("inf"), "has inf as 'answer': give a text, a finite number"),
    ],
)
def test_answers_that_are_none_are_refused(tmp_path, answer, message):
    with pytest.raises(InputError, match=f"^row 1 of .*mine.jsonl {message}"):
        problem(tmp_path, {"prompt": QUESTION, "answer": answer})


# ---- ids ------------------------------------------------------------------------------------------------------------


def test_ids_of_any_type(tmp_path):
    rows = [{"id": one, "prompt": QUESTION, "answer": "4"} for one in ("a", 7)]
    assert [one.id for one in problems(write(tmp_path / "mine.jsonl", rows))] == ["a", "7"]


@pytest.mark.parametrize("ids", [("a", "b", "a"), (1, 2, "1"), ("1", 2, None, "2")])
def test_ids_that_occur_twice_are_refused(tmp_path, ids):
    path = write(tmp_path / "mine.jsonl", [{"id": one, "prompt": QUESTION, "answer": "4"} for one in ids])
    with pytest.raises(InputError, match=r"^problems \d and \d of task 'mine' both have the id '.': give each its own"):
        problems(path)


# ---- choices --------------------------------------------------------------------------------------------------------

CHOICES = ["3", "4", "5"]


@pytest.mark.parametrize("answer", ["4", 4, "B"])
def test_the_right_choice_by_its_text_or_its_letter(tmp_path, answer):
    found = problem(tmp_path, {"prompt": QUESTION, "answer": answer, "choices": CHOICES})
    assert f"{found.reference}) 4" in found.prompt.splitlines()
    assert found.prompt.endswith(f"\n\n{LETTER}")
    assert {line[3:] for line in found.prompt.splitlines() if line[1:3] == ") "} == {*CHOICES}


def test_a_text_goes_before_a_letter(tmp_path):
    found = problem(
        tmp_path, {"prompt": "Which is the second vowel?", "answer": "E", "choices": ["I", "E", "A", "O", "U"]}
    )
    assert f"{found.reference}) E" in found.prompt.splitlines()


def test_choices_are_shuffled_by_the_seed(tmp_path):
    row = {"prompt": QUESTION, "answer": "4", "choices": CHOICES}
    assert len({problem(tmp_path, row, seed=seed).reference for seed in range(20)}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "6"}, "has '6' as 'answer': give one of its choices, or a letter of ABC"),
        ({"answer": "D"}, "has 'D' as 'answer'"),
        ({"answer": "AB"}, "has 'AB' as 'answer'"),
        ({"answer": ["3", "4"]}, "as 'answer': give one of its choices"),
        ({"choices": ["4"]}, r"has \['4'\] as 'choices': give a list of 2 to 26 different texts"),
        ({"choices": ["4", "4", "5"]}, "as 'choices': give a list of 2 to 26 different texts"),
        ({"choices": "3,4,5"}, "as 'choices'"),
        ({"choices": ["4", " "]}, "as 'choices'"),
        ({"choices": ["4", None]}, "as 'choices'"),
        ({"choices": ["4", {"text": "5"}]}, "as 'choices'"),
    ],
)
def test_choices_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        problem(tmp_path, {"prompt": QUESTION, "answer": "4", "choices": CHOICES, **changes})


# ---- tests ----------------------------------------------------------------------------------------------------------

CASES = [{"input": "2 2", "output": "4"}, {"input": "0 0", "output": "0"}]


@pytest.mark.parametrize(
    "tests", ["assert add(1, 2) == 3\nassert add(0, 0) == 0", ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]]
)
def test_tests_as_code(tmp_path, tests):
    found = problem(tmp_path, {"prompt": "Write add.", "tests": tests, "entry_point": "add", "solution": "add = sum"})
    assert found.prompt == f"Write add.\n{PROGRAM}"
    assert found.reference == {
        "kind": "asserts",
        "tests": "assert add(1, 2) == 3\nassert add(0, 0) == 0",
        "prefix": "",
        "entry_point": "add",
        "solution": "add = sum",
    }


def test_tests_as_inputs_and_outputs(tmp_path):
    found = problem(tmp_path, {"prompt": "Add the numbers.", "tests": CASES})
    assert found.reference == {"kind": "io", "cases": CASES, "prefix": "", "entry_point": None, "solution": None}


def test_tests_in_a_table(tmp_path):
    path = write(tmp_path / "mine.csv", [{"prompt": "Write add.", "tests": "assert add(1, 2) == 3", "solution": ""}])
    (found,) = problems(path)
    assert found.reference["tests"] == "assert add(1, 2) == 3"
    assert found.reference["solution"] is None


@pytest.mark.parametrize("column", ["prefix", "entry_point", "solution"])
def test_other_columns_are_texts(tmp_path, column):
    with pytest.raises(InputError, match=f"has a value of type int as '{column}': give a text"):
        problem(tmp_path, {"prompt": "Write add.", "tests": "assert add(1, 2) == 3", column: 7})


@pytest.mark.parametrize("tests", [[], "  ", 7, [{"input": "2 2"}], [{"input": 2, "output": 4}], ["assert", CASES[0]]])
def test_tests_are_refused(tmp_path, tests):
    with pytest.raises(InputError, match=r"as 'tests': give code that fails if the program is wrong, a list of such"):
        problem(tmp_path, {"prompt": "Write add.", "tests": tests})


@pytest.mark.parametrize(
    "row",
    [
        {"tests": "assert ("},
        {"tests": ["assert add(1, 2) == 3", "assert"]},
        {"tests": [{"input": "2 2", "output": "4"}], "entry_point": "add"},
        {"tests": [{"input": "2\n2", "output": "four"}], "entry_point": "add"},
        {"tests": [{"input": "2\n2", "output": ""}], "entry_point": "add"},
    ],
)
def test_tests_that_nothing_can_pass_are_refused(tmp_path, row):
    with pytest.raises(InputError, match=r"^row 1 of .* has 'tests' that cannot be read \(.*\): give Python code, or"):
        problem(tmp_path, {"prompt": "Write add.", **row})


# ---- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": QUESTION}], r"mine.jsonl has no answers: give each row an 'answer' or 'tests' beside 'prompt'\.$"),
        ([{"prompt": QUESTION, "answer": None}], r"has no answers: .* beside 'prompt', 'answer'\.$"),
        (
            [{"prompt": QUESTION, "answer": "4"}, {"prompt": QUESTION}],
            r"^row 2 of .*mine.jsonl has no 'answer' and no 'tests': add one, or leave the row out\.$",
        ),
        (
            [{"prompt": QUESTION, "answer": "4"}, {"prompt": QUESTION, "answer": ""}],
            r"^row 2 of .*mine.jsonl has an empty 'answer'",
        ),
        (
            [{"prompt": QUESTION, "answer": "4"}, {"prompt": QUESTION, "tests": "assert x"}],
            r"^row 2 of .* has 'tests' and row 1 has 'answer': give each kind of problem a file of its own\.$",
        ),
        ([{"prompt": QUESTION, "answer": "4", "tests": "assert x"}], r"^row 1 of .* has both an 'answer' and 'tests'"),
        ([{"answer": "4"}], r"^row 1 of .*mine.jsonl has no 'prompt' or 'question' or 'problem', only 'answer'\.$"),
        ([{"prompt": "", "answer": "4"}], r"^row 1 of .*mine.jsonl has an empty 'prompt'"),
        ([{"prompt": [], "answer": "4"}], r"has a prompt that is no list of messages: give each a role and a content"),
        ([{"prompt": ["a"], "answer": "4"}], r"has a prompt that is no list of messages"),
        (
            [{"prompt": [{"role": "assistant", "content": "Hi"}], "answer": "4"}],
            r"has a prompt whose last message is of 'assistant': end with the user\.$",
        ),
        ([{"prompt": [{"role": "user", "content": 5}], "answer": "4"}], r"has a prompt that is no list of messages"),
        ([{"prompt": [{"role": 1, "content": "Hi"}], "answer": "4"}], r"has a prompt that is no list of messages"),
        (
            [{"prompt": [{"role": "user", "content": None}], "answer": "4"}],
            r"has a prompt whose last message is empty: fill it, or leave the row out\.$",
        ),
    ],
)
def test_columns_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message) as refused:
        problems(write(tmp_path / "mine.jsonl", rows))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"mine.jsonl cannot be read \(.*\): repair it\.$"):
        problems(path)


def test_a_folder_of_a_data_set(tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.jsonl").write_text(json.dumps({"prompt": QUESTION, "answer": "4"}))
    assert [one.reference for one in problems(tmp_path / "mine")] == ["4"]


def test_another_source_is_refused(tmp_path):
    path = write(tmp_path / "mine.jsonl", [{"prompt": QUESTION, "answer": "4"}])
    with pytest.raises(InputError, match=r"^task 'mine' is the file .*mine.jsonl itself: leave the source out\.$"):
        problems(path, source="other.jsonl")
