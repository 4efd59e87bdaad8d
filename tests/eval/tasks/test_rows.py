"""Rows from files of each type, from folders and from the hub; and sources that are refused."""

import json
from pathlib import Path

import datasets
import pytest
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetNotFoundError

from crossdistill.errors import InputError
from crossdistill.eval.row import Row
from crossdistill.eval.tasks.rows import HubData, is_local, read_rows
from tests.eval.tasks.files import write

HUB = HubData("someone/sums", config="main")
ROWS = [{"question": "What is 2 + 2?", "answer": "4"}, {"question": 'What is "3\n+ 3"?', "answer": "6"}]
SUFFIXES = [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def values(rows: list[Row]) -> list[dict[str, object]]:
    return [dict(row.values) for row in rows]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files(tmp_path, suffix):
    path = write(tmp_path / f"sums{suffix}", ROWS)
    rows = read_rows(HUB, path)
    assert values(rows) == ROWS
    assert [row.where for row in rows] == [f"row 1 of {path}", f"row 2 of {path}"]


def test_types_of_json_are_kept_row_by_row(tmp_path):
    """Arrow has one type a column, and makes times of texts that look so."""
    mixed = [{"answer": 4}, {"answer": "2024-05-01"}, {"answer": True}, {"answer": [1, "one"]}, {"answer": 0.5}]
    assert values(read_rows(HUB, write(tmp_path / "mixed.jsonl", mixed))) == mixed


def test_a_saved_data_set_has_the_split(tmp_path):
    data = Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one")
    DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "parts")
    assert values(read_rows(HUB, tmp_path / "one")) == ROWS
    assert values(read_rows(HUB, tmp_path / "parts")) == ROWS[1:]
    with pytest.raises(InputError, match=r"parts has no split 'dev', only train, test: give one that has\.$"):
        read_rows(HubData("someone/sums", split="dev"), tmp_path / "parts")


def test_a_copy_of_a_repository_of_the_hub(tmp_path):
    (tmp_path / "main").mkdir()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train.jsonl\n"
        "  - split: test\n    path: main/test.jsonl\n- config_name: other\n  data_files: other.jsonl\n---\n"
    )
    write(tmp_path / "main" / "train.jsonl", ROWS[:1])
    write(tmp_path / "main" / "test.jsonl", ROWS[1:])
    write(tmp_path / "other.jsonl", [{"text": "other"}])
    assert values(read_rows(HUB, tmp_path)) == ROWS[1:]


def test_a_folder_with_one_split_needs_no_name_for_it(tmp_path):
    write(tmp_path / "sums.jsonl", ROWS)
    assert values(read_rows(HUB, tmp_path)) == ROWS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, ("someone/sums", "main", None)),
        ("other/sums", ("other/sums", "main", None)),
        ("other/sums@1a2b", ("other/sums", "main", "1a2b")),
    ],
)
def test_the_hub_is_asked_for_the_configuration_and_the_revision(monkeypatch, source, expected):
    asked = []

    def load(address, config, revision):
        asked.append((address, config, revision))
        return DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[1:])})

    monkeypatch.setattr(datasets, "load_dataset", load)
    (row,) = read_rows(HUB, source)
    assert asked == [expected]
    assert row.where == f"row 1 of {source or 'someone/sums'}"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'someone/sums' on the Hub (LocalEntryNotFoundError)"),
        DatasetNotFoundError("Dataset 'someone/sums' is a gated dataset on the Hub.\nVisit the page."),
        ValueError("BuilderConfig 'main' not found. Available: ['default']"),
        RuntimeError("Dataset scripts are no longer supported, but found sums.py"),
    ],
)
def test_a_hub_that_cannot_be_reached_names_the_way_out(monkeypatch, error):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError) as refused:
        read_rows(HUB)
    reason = str(error).splitlines()[0].rstrip(".")
    assert str(refused.value) == (
        f"the data set someone/sums cannot be read ({reason}): give a local file or folder of the same form as the "
        "source (--source TASK=PATH)."
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "there is no file .*none.jsonl: give an existing file, a folder or a hub id"),
        ("sums.jsonl", "", "sums.jsonl is empty: give at least one row"),
        ("sums.jsonl", "\n \n", "sums.jsonl is empty"),
        ("sums.json", "[]", "sums.json is empty"),
        ("sums.csv", "prompt,answer\n", "sums.csv is empty"),
        ("sums.txt", "text", "sums.txt is not a file of a known type: give a .jsonl, .json, .csv, .parquet, .jsonl.gz"),
        (
            "sums.jsonl",
            '{"prompt": "a"}\n{"prompt": \n',
            r"sums.jsonl cannot be read \(line 2 is not JSON: .*\): repair",
        ),
        ("sums.jsonl", '{"prompt": "a"}\n"b"\n', r"sums.jsonl cannot be read \(row 2 is no object\): repair it"),
        ("sums.json", '{"prompt": "a"', r"sums.json cannot be read \(line 1 is not JSON"),
        ("sums.csv", "prompt,answer\n2 + 2,4,five\n", r"sums.csv cannot be read \(row 1 has more cells than there are"),
        ("sums.parquet", "not parquet", r"sums.parquet cannot be read \("),
        ("sums.jsonl.gz", "not gzip", r"sums.jsonl.gz cannot be read \("),
    ],
)
def test_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        read_rows(HUB, path)
    assert str(refused.value).count("\n") == 0


def test_a_text_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "sums.csv").write_bytes("prompt\nüber\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"sums.csv cannot be read \('utf-8' codec"):
        read_rows(HUB, tmp_path / "sums.csv")


@pytest.mark.parametrize(
    ("source", "local"),
    [
        ("openai/gsm8k", False),
        ("gsm8k", False),
        ("openai/gsm8k@main", False),
        ("sums.jsonl", True),
        ("data/sums.csv", True),
        ("./sums", True),
        ("/data/sums", True),
        ("~/sums", True),
        ("data/of/sums", True),
    ],
)
def test_paths_and_hub_ids(source, local):
    assert is_local(source) is local


def test_an_existing_folder_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("openai/gsm8k").mkdir(parents=True)
    assert is_local("openai/gsm8k")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "row 3 of sums has no 'prompt' or 'question', only nothing."),
        ({"id": 1, "prompt": None}, "row 3 of sums has no 'prompt' or 'question', only 'id'."),
        ({"question": 7}, "row 3 of sums has a value of type int as 'question': give a text."),
        ({"prompt": " \n"}, "row 3 of sums has an empty 'prompt': fill it, or leave the row out."),
    ],
)
def test_rows_say_what_they_lack(row, message):
    with pytest.raises(InputError) as refused:
        Row(json.loads(json.dumps(row)), 3, "sums").text("prompt", "question")
    assert str(refused.value) == message
