"""A file of responses is taken up again only with the prompts and settings that it was written under."""

import json
from pathlib import Path
from typing import Any

import pytest

from crossdistill.findings import FindingError
from crossdistill.runs.responses_file import ResponsesFile
from crossdistill.teachers.base import WrittenResponse
from tests.models import MESSAGES

SETTINGS = {"teacher": "a/teacher", "temperature": 1.0, "max_new_tokens": 32, "batch_size": 16, "seed": 42}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the responses to the first three prompts."""
    file = ResponsesFile(tmp_path / "responses.jsonl", MESSAGES, SETTINGS)
    list(file.append([WrittenResponse(f"w {k} é\u2028", 3, stopped=k != 1) for k in range(3)], 0))
    return file.path


def read(path: Path, prompts: Any = MESSAGES, **settings: Any) -> list[dict[str, Any]]:
    return ResponsesFile(path, prompts, {**SETTINGS, **settings}).read()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_it_is_readable_and_read_again(path):
    assert "w 0 é" in path.read_text()
    assert read(path) == lines(path)
    assert [(row["prompt"], row["stopped"]) for row in read(path)] == list(
        zip(MESSAGES[:3], [True, False, True], strict=True)
    )
    more = ResponsesFile(path, MESSAGES, SETTINGS)
    list(more.append([WrittenResponse("last", 3, stopped=True)], 3))
    assert len(more.read()) == 4


def test_no_file_holds_no_rows(tmp_path):
    assert read(tmp_path / "none.jsonl") == []


def test_an_incomplete_last_line_is_cut_off(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(b'"}\n')])
    assert len(read(path)) == 2
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:2])


@pytest.mark.parametrize("changed", [{"teacher": "b"}, {"temperature": 0.5}, {"max_new_tokens": 33}, {"seed": 1}])
def test_other_settings_are_refused(path, changed):
    with pytest.raises(FindingError, match=r"row 0 of .* was changed, moved, or written under other settings"):
        read(path, **changed)


@pytest.mark.parametrize(
    ("prompts", "row"),
    [
        ([MESSAGES[1], MESSAGES[0], *MESSAGES[2:]], 0),
        ([*MESSAGES[:2], [{"role": "user", "content": "Add 12 and 31."}], *MESSAGES[3:]], 2),
        ([*MESSAGES[:1], [{"role": "system", "content": "Be brief."}, *MESSAGES[1]], *MESSAGES[2:]], 1),
        (MESSAGES[1:], 0),
    ],
)
def test_a_changed_data_set_is_refused(path, prompts, row):
    with pytest.raises(FindingError, match=rf"row {row} of .* answers another prompt than row {row} of the data set"):
        read(path, prompts)


def test_more_responses_than_prompts(path):
    with pytest.raises(FindingError, match=r"row 2 of .* has no prompt: the data set has only 2"):
        read(path, MESSAGES[:2])


def test_rows_that_were_exchanged_with_their_prompts(path):
    rows = lines(path)
    write(path, [rows[1], rows[0], rows[2]])
    with pytest.raises(FindingError, match=r"row 0 of .* answers another prompt"):
        read(path)


def test_the_same_prompt_at_another_place(tmp_path):
    file = ResponsesFile(tmp_path / "responses.jsonl", ["one"] * 3, SETTINGS)
    list(file.append([WrittenResponse(text, 1, stopped=True) for text in "ab"], 0))
    write(file.path, lines(file.path)[::-1])
    with pytest.raises(FindingError, match=r"row 0 of .* was changed, moved"):
        file.read()


@pytest.mark.parametrize("key", ["completion", "stopped"])
def test_exchanged_responses(path, key):
    rows = lines(path)
    rows[0][key], rows[1][key] = rows[1][key], rows[0][key]
    write(path, rows)
    with pytest.raises(FindingError, match=r"row 0 of .* was changed"):
        read(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "one", "completion": "x", "stopped": true}', "has no hash that binds it to its prompt"),
        ('{"text": "one"}', "is not a response of a run"),
        ("[1]", "is not a response of a run"),
        ("{oh", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_rows_of_others(tmp_path, line, said):
    path = tmp_path / "responses.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(FindingError, match=rf"row 0 of .* {said}.*: restore .*, or start a new run"):
        read(path)
