"""LiveCodeBench from files of the form of its hub data set."""

import json
import sys
from pathlib import Path

import huggingface_hub
import pytest

from crossdistill.errors import InputError
from crossdistill.eval.digest import digest
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from tests.eval.tasks.files import write
from tests.eval.tasks.test_contest_tests import packed

STARTER = "class Solution:\n    def add(self, numbers: List[int]) -> int:\n        "


def row(number: int, day: str, function: str | None = None, **changes) -> dict[str, str]:
    kind = "functional" if function else "stdin"
    tests = [{"input": f"{one} {number}", "output": str(one + number), "testtype": kind} for one in range(3)]
    return {
        "question_title": f"Sum {number}",
        "question_content": f"Add the numbers, {number}.\n",
        "platform": "leetcode" if function else "atcoder",
        "question_id": f"abc{number}",
        "contest_id": f"contest{number}",
        "contest_date": f"{day}T00:00:00",
        "starter_code": STARTER if function else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": packed(json.dumps(tests[1:])),
        "metadata": json.dumps({"func_name": function} if function else {}),
        **changes,
    }


ROWS = [row(1, "2024-07-31"), row(2, "2024-08-01", "add"), row(3, "2025-01-04")]


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "problems.jsonl", ROWS)


def problems(path, **options):
    return get("livecodebench").problems(TaskOptions(source=path, **options))


def test_standard_input(path):
    problem = problems(path)[0]
    assert problem.id == "abc1"
    assert problem.prompt.startswith("Add the numbers, 1.\n\nRead the input from standard input")
    assert problem.prompt.endswith("code block that starts with ```python.")
    assert {**problem.reference, "cases": list(problem.reference["cases"]), "prefix": ""} == {
        "kind": "io",
        "cases": [{"input": f"{one} 1", "output": str(one + 1)} for one in range(3)],
        "entry_point": None,
        "prefix": "",
        "solution": None,
    }


def test_functions(path):
    problem = problems(path)[1]
    assert f"```python\n{STARTER.rstrip()}\n```" in problem.prompt
    assert problem.reference["entry_point"] == "add"
    scope: dict[str, object] = {}
    program = "numbers: List[int] = [pow(2, 5, 3)]\ncounts = deepcopy(Counter(numbers))\nlargest = sys.maxsize"
    limit = sys.getrecursionlimit()
    exec(problem.reference["prefix"] + program, scope)
    sys.setrecursionlimit(limit)
    assert (scope["counts"], scope["largest"]) == ({2: 1}, sys.maxsize)


def test_cases_are_a_sequence(path):
    cases = problems(path)[0].reference["cases"]
    assert len(cases) == 3
    assert cases[2] == cases[-1] == {"input": "2 1", "output": "3"}
    assert cases[:2] == list(cases)[:2]


def test_a_digest_reads_the_hidden_tests(tmp_path, path):
    other = [ROWS[0], ROWS[1], row(3, "2025-01-04", private_test_cases=packed("[]"))]
    assert digest(problems(path)) != digest(problems(write(tmp_path / "other.jsonl", other)))
    assert digest(problems(path)) == digest(problems(path))


@pytest.mark.parametrize(
    ("window", "ids"),
    [
        ({"start_date": "2024-08-01"}, ["abc2", "abc3"]),
        ({"end_date": "2024-08-01"}, ["abc1", "abc2"]),
        ({"start_date": "2024-08-01", "end_date": "2024-12-31"}, ["abc2"]),
    ],
)
def test_a_window_of_dates_includes_its_ends(path, window, ids):
    assert [problem.id for problem in problems(path, parameters=window)] == ids


FILES = ["test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7))]


@pytest.mark.parametrize(
    ("version", "files"),
    [("release_v2", FILES[:2]), ("release_v6", FILES), ("v5", FILES[4:5]), ("v1", FILES[:1]), ("v3_v5", FILES[2:5])],
)
def test_versions_are_files_of_a_folder_or_of_the_hub(tmp_path, monkeypatch, version, files):
    for number, name in enumerate(FILES):
        write(tmp_path / name, [row(number, "2024-01-01")])
    asked = []

    def download(address, name, repo_type, revision):
        asked.append((address, name, repo_type, revision))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    expected = [f"abc{FILES.index(name)}" for name in files]
    options = {"parameters": {"version": version}}
    assert [problem.id for problem in problems(tmp_path, **options)] == expected
    assert not asked
    assert [problem.id for problem in problems(None, **options)] == expected
    assert asked == [("livecodebench/code_generation_lite", name, "dataset", None) for name in files]


def test_a_hub_that_cannot_be_reached_names_the_way_out(monkeypatch):
    def download(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("Cannot find the file on disk.\nCheck the connection.")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(InputError, match=r"^the data set livecodebench/code_generation_lite cannot be read \(Cannot"):
        problems(None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"version": "v9"}, r"^LiveCodeBench has no version 'v9': give one of release_v1, .*v5_v6\.$"),
        ({"start_date": "August"}, r"^start_date is 'August': give a date such as 2024-08-01\.$"),
        (
            {"start_date": "2026-01-01"},
            r"^LiveCodeBench release_v6 has no problem from 2026-01-01 to 9999-12-31: widen",
        ),
        ({"window": "all"}, r"^task 'livecodebench' has no parameter 'window'; it takes version, start_date, end_date"),
    ],
)
def test_parameters_are_refused(path, parameters, message):
    with pytest.raises(InputError, match=message):
        problems(path, parameters=parameters)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public_test_cases": "[]", "private_test_cases": packed("[]")}, r"row 1 of .* has no tests: leave it out"),
        ({"public_test_cases": '[{"input": 1, "output": "1"}]'}, "'public_test_cases' that are no list of inputs and"),
        ({"public_test_cases": "{}"}, "'public_test_cases' that cannot be read"),
        ({"public_test_cases": "[]", "private_test_cases": packed(["no text"])}, "their pickle does more than name"),
        ({"contest_date": "soon"}, "has 'soon' as 'contest_date': give a date such as 2024-08-01"),
        ({"metadata": "{}"}, "has functional tests and no 'func_name' in its 'metadata': restore it"),
        ({"metadata": "{"}, "has functional tests and no 'func_name' in its 'metadata': restore it"),
    ],
)
def test_rows_are_refused(tmp_path, changes, message):
    path = write(tmp_path / "problems.jsonl", [row(1, "2024-01-01", "add", **changes)])
    with pytest.raises(InputError, match=message):
        problems(path)


def test_a_folder_without_a_file_of_the_version_is_refused(tmp_path: Path):
    write(tmp_path / "test.jsonl", ROWS)
    with pytest.raises(InputError, match=r"has no test2.jsonl: give one with test.jsonl, test2.jsonl, or another ver"):
        problems(tmp_path, parameters={"version": "release_v2"})
