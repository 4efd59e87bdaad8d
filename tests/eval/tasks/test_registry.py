"""Tasks by name, by path and by import path."""

from pathlib import Path

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import available, get
from crossdistill.eval.tasks.own_file import OwnFile
from tests.eval.tasks.files import write
from tests.eval.test_task import Letters


@pytest.mark.parametrize("name", available())
def test_each_task_has_its_name_and_says_how_it_is_sampled(name):
    task = get(name)
    assert task.name == name
    assert task.source
    assert task.sampling.k >= 1
    assert (task.sampling.temperature > 0) == (task.sampling.k > 1)  # greedy samples are all the same


def test_the_issues_tasks_are_there():
    assert {*available()} == {
        *("aime24", "aime25", "aime26", "gpqa_diamond", "gsm8k", "humaneval", "humaneval_plus"),
        *("livecodebench", "math500", "mbpp", "mbpp_plus"),
    }


def test_a_generator_of_reasoning_gym():
    assert get("reasoning_gym:chain_sum").name == "reasoning_gym:chain_sum"


def test_a_file(tmp_path):
    path = write(tmp_path / "my.sums.jsonl", [{"prompt": "What is 2 + 2?", "answer": "4"}])
    task = get(str(path))
    assert isinstance(task, OwnFile)
    assert (task.name, task.source) == ("my", str(path))


def test_an_import_path_of_a_class_and_of_an_object(tmp_path, monkeypatch):
    (tmp_path / "my_own_task.py").write_text(
        "from tests.eval.test_task import Letters\nclass Mine(Letters):\n    name = 'mine'\nmine = Mine('xyz')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    assert get("my_own_task:Mine").name == "mine"
    assert get("my_own_task:mine").ids == "xyz"


def test_a_task_is_given_back():
    task = Letters()
    assert get(task) is task


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8", r"^there is no task 'gsm8': did you mean gsm8k\? A generator is reasoning_gym:NAME"),
        ("aime", r"^there is no task 'aime': did you mean aime26, aime25, aime24\?"),
        ("zzz", r"^there is no task 'zzz': choose one of aime24, aime25, .*mbpp_plus\. A generator"),
        ("sums.jsonl", r"^there is no file sums\.jsonl: give an existing file"),
        ("reasoning_gym:chain_sums", r"^reasoning-gym has no generator 'chain_sums': did you mean chain_sum, "),
        ("reasoning_gym:", r"^reasoning-gym has no generator '': choose one of ab, acre, "),
        ("no_such_module:Mine", r"^task 'no_such_module:Mine': there is no module 'no_such_module'"),
        ("tests.eval.test_task:PROBLEM", r"^task 'tests.eval.test_task:PROBLEM' is not a subclass of"),
        ("crossdistill.eval.task:Task", r"^task '.*' is abstract: implement all_problems, grader\.$"),
    ],
)
def test_refused(name, message):
    with pytest.raises(InputError, match=message):
        get(name).problems(TaskOptions())
