"""Rows from files, and data sets that are refused."""

import csv
import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from crossdistill import InputError
from crossdistill.runs.data import load_rows
from tests.models import MESSAGES, TEXTS

COLUMNS = {"prompt": "prompt"}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def written(folder: Path, suffix: str) -> Path:
    data, path = Dataset.from_dict({"prompt": TEXTS}), folder / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    elif suffix == ".json":
        path.write_text(json.dumps([{"prompt": text} for text in TEXTS]))
    elif suffix == ".csv":
        data.to_csv(path)
    else:
        data.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_files(tmp_path, suffix):
    rows = load_rows(str(written(tmp_path, suffix)), columns=COLUMNS)
    assert rows["prompt"][:] == TEXTS


def test_messages(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    assert load_rows(str(tmp_path / "rows.jsonl"), columns=COLUMNS)["prompt"][:] == MESSAGES


def test_saved_folders(tmp_path):
    data = Dataset.from_dict({"prompt": TEXTS})
    data.save_to_disk(tmp_path / "one")
    DatasetDict({"train": data, "test": data.select([2])}).save_to_disk(tmp_path / "parts")
    assert load_rows(str(tmp_path / "one"), columns=COLUMNS)["prompt"][:] == TEXTS
    assert load_rows(str(tmp_path / "parts"), columns=COLUMNS)["prompt"][:] == TEXTS
    assert load_rows(str(tmp_path / "parts"), "test", columns=COLUMNS)["prompt"][:] == [TEXTS[2]]
    with pytest.raises(InputError, match=r"has no split 'dev', only train, test"):
        load_rows(str(tmp_path / "parts"), "dev")


def test_columns_are_renamed(tmp_path):
    Dataset.from_dict({"question": TEXTS, "prompt": ["other"] * len(TEXTS)}).to_csv(tmp_path / "rows.csv")
    assert load_rows(str(tmp_path / "rows.csv"), columns={"prompt": "question"})["prompt"][:] == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "there is no data set .*none.jsonl: give an existing file"),
        ("rows.jsonl", "", "the data set .*rows.jsonl is empty: give at least one row"),
        ("rows.jsonl", "\n \n", "the data set .*rows.jsonl is empty"),
        ("rows.csv", "prompt\n", "the data set .*rows.csv is empty"),
        ("rows.json", "[]", "the data set .*rows.json is empty"),
        ("rows.txt", "text", "rows.txt is not a file of a known type: give a .jsonl, .json, .csv, .parquet file"),
        (
            "rows.jsonl",
            '{"question": "a"}\n',
            r"has no 'prompt' column, only question: name the column .*prompt_column",
        ),
        ("rows.jsonl", '{"prompt": "a"\n', "rows.jsonl cannot be read as json"),
        ("rows.parquet", "not parquet", "rows.parquet cannot be read as parquet"),
    ],
)
def test_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load_rows(str(tmp_path / name), columns=COLUMNS)


def test_a_folder_that_is_not_a_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a saved data set"):
        load_rows(str(tmp_path))


def test_a_hub_id_that_cannot_be_reached_is_refused(monkeypatch):
    for module in ("datasets.config", "huggingface_hub.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match="there is no data set 'nobody/nothing', neither as a local file nor on the hub"
    ):
        load_rows("nobody/nothing")


WORDS = ["5", "007", "1.50", "True", "None", "N/A", "null", "nan", "inf", "2024-05-01", ""]


def test_cells_of_a_csv_file_are_texts(tmp_path):
    """As pandas writes and reads them, they would be numbers, truth values and nulls."""
    for words in (WORDS, ["5", "7"], ["True", "False"], ["null", "NA"]):
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerows([["prompt", "completion"], *([word, word] for word in words)])
        rows = load_rows(str(tmp_path / "rows.csv"), columns=COLUMNS)
        assert rows["prompt"][:] == rows["completion"][:] == words


DATES = ["2024-05-01", "2024-05-02", "2024-05-03T10:00:00Z"]


@pytest.mark.parametrize("form", ["lines", "list", "indented list"])
def test_dates_are_texts(tmp_path, form):
    rows = [
        {"prompt": [{"role": "user", "content": date, "more": {"at": date}}], "completion": date, "number": number}
        for number, date in enumerate(DATES)
    ]
    if form == "lines":
        path, content = tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n"
    else:
        path, content = tmp_path / "rows.json", json.dumps(rows, indent=2 if form == "indented list" else None)
    path.write_text(content)
    read = load_rows(str(path), columns=COLUMNS)
    assert read["completion"][:] == DATES
    assert read["number"][:] == [0, 1, 2]
    assert [prompt[0]["content"] for prompt in read["prompt"]] == DATES
    assert [prompt[0]["more"]["at"] for prompt in read["prompt"]] == DATES


def test_the_format_that_a_saved_data_set_had_does_not_matter(tmp_path):
    Dataset.from_dict({"prompt": TEXTS}).with_format("numpy").save_to_disk(tmp_path / "rows")
    assert load_rows(str(tmp_path / "rows"), columns=COLUMNS)[0] == {"prompt": TEXTS[0]}


def test_a_local_file_is_read_without_a_word_to_the_hub(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n')
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.load.get_session", lambda: pytest.fail("a host was looked up"))
    assert load_rows(str(path))["prompt"] == ["a"]
