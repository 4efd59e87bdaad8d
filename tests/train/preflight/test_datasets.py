"""What may be given as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

from crossdistill import InputError
from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.preflight.data import check_prompts
from crossdistill.train.preflight.datasets import GivenRows, as_data, as_eval_data, as_read
from crossdistill.train.stream import Stream
from tests.models import MESSAGES, Pair
from tests.train.harness import RecordingTrainer, arguments

ROWS = [{"prompt": prompt} for prompt in (MESSAGES * 2)[:8]]
WHAT = "the training data"
TABLE = Dataset.from_list(ROWS)
SPLITS = DatasetDict(train=TABLE, test=TABLE)


class MapStyle(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return len(ROWS)

    def __getitem__(self, number: int) -> Any:
        return ROWS[number]


class Unsized(torch.utils.data.Dataset[Any]):
    def __getitem__(self, number: int) -> Any:
        return ROWS[number]


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(ROWS)


def run(pair: Pair, output: Path, train: Any, **options: Any) -> RecordingTrainer:
    settings = arguments(output, max_steps=1, shuffle_dataset=False, **options)
    trainer = RecordingTrainer(pair.student, pair.teacher, settings, train_dataset=train)
    trainer.train()
    return trainer


GIVEN = {"a list": ROWS, "a tuple": tuple(ROWS), "torch's": MapStyle(), "torch's stream": Endless(), "part": None}


@pytest.mark.parametrize("kind", ["a list", *(pytest.param(k, marks=pytest.mark.slow) for k in [*GIVEN][1:])])
def test_rows_of_any_kind_are_the_rows_of_a_table(pair, tmp_path, kind):
    given = torch.utils.data.Subset(MapStyle(), range(8)) if kind == "part" else GIVEN[kind]
    ours, table = run(pair, tmp_path, given), run(pair, tmp_path, TABLE)
    assert ours.prompt_ids == table.prompt_ids
    assert [entry["loss"] for entry in ours.steps] == [entry["loss"] for entry in table.steps]


def test_rows_keep_their_shapes():
    """Arrow would fill them with nulls, and refuse a text beside messages."""
    rows = [
        {"prompt": "a text"},
        {"prompt": [{"role": "user", "content": "a", "extra": {"x": 1}}, {"role": "user", "content": "b"}], "n": 1},
    ]
    given = as_data(rows, WHAT)
    assert list(given) == rows
    assert given.column_names == ["prompt", "n"]
    assert given["n"] == [None, 1]
    given[1]["prompt"].append("changed")  # a caller's change does not reach the next epoch
    assert list(given) == rows


def test_data_sets_stay_as_they_are():
    assert as_data(None, WHAT) is None
    assert as_data(TABLE, WHAT) is TABLE
    assert as_read(TABLE) is TABLE
    stream = as_data(IterableDataset.from_generator(lambda: iter(ROWS)), WHAT)
    assert isinstance(stream, Stream)
    assert as_data(as_read(stream), WHAT) is stream


@pytest.mark.parametrize("kind", ["numpy", "torch", "pandas", "arrow"])
def test_the_format_of_a_table_does_not_matter(kind):
    given = as_data(TABLE.with_format(kind), WHAT)
    assert given["prompt"][:] == TABLE["prompt"][:]
    assert given[3] == TABLE[3]
    check_prompts(given, WHAT)
    stream = as_data(TABLE.to_iterable_dataset().with_format(kind), WHAT)
    assert next(stream.rows())["row"] == TABLE[0]


def test_a_function_may_make_the_rows_of_a_table():
    table = Dataset.from_dict({"question": ["one", "two"]})
    given = as_data(table.with_transform(lambda rows: {"prompt": [f"{one}?" for one in rows["question"]]}), WHAT)
    check_prompts(given, WHAT)
    assert list(given) == [{"prompt": "one?"}, {"prompt": "two?"}]
    assert given.column_names == ["prompt"]


def test_no_rows():
    for empty in ([], (), Dataset.from_dict({}), Dataset.from_dict({"question": []})):
        with pytest.raises(InputError, match="the training data is empty: give at least one row"):
            check_prompts(as_data(empty, WHAT), WHAT)


class Broken(MapStyle):
    def __getitem__(self, number: int) -> Any:
        if number == 5:
            raise OSError("shard 3 is gone")
        return ROWS[number]


def test_a_row_that_cannot_be_read_is_named():
    def fail(rows: Any) -> Any:
        raise KeyError("text")

    with pytest.raises(InputError, match=r"row 5 of the training data cannot be read \(OSError: shard 3 is gone\)"):
        as_data(Broken(), WHAT)
    with pytest.raises(InputError, match=r"row 0 of the training data cannot be read \(KeyError: 'text'\)"):
        as_data(TABLE.with_transform(fail), WHAT)


@pytest.mark.parametrize("splits", [SPLITS, DatasetDict(train=TABLE), IterableDatasetDict(train=TABLE), DatasetDict()])
def test_splits(splits):
    with pytest.raises(InputError, match=r"the training data is a \w+Dict with the splits train.*data\['train'\]"):
        as_data(splits, WHAT)
    with pytest.raises(InputError, match=r"data\['test'\]"):
        as_data(DatasetDict(test=TABLE), WHAT)


REFUSED: dict[str, tuple[Any, str]] = {
    "a path": ("rows.jsonl", "is the text 'rows.jsonl': .*load_dataset"),
    "columns": ({"prompt": ["a"]}, "is an object of type dict: .*from_dict"),
    "a generator": ((row for row in ROWS), "type generator: .*from_generator"),
    "a loader": (torch.utils.data.DataLoader(ROWS), "type DataLoader: .* that it reads"),
    "a class": (MapStyle, "is the class MapStyle"),
    "a number": (7, "type int"),
    "without a length": (Unsized(), "without a length .Unsized.: give it a `__len__`"),
    "texts": (["a", "b"], "row 0 of the training data is 'a': each row must be a dict"),
    "a row that is None": ([*ROWS, None], "row 8 of the training data is None"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_data(kind):
    given, reason = REFUSED[kind]
    with pytest.raises(InputError, match=reason):
        as_data(given, WHAT)


def test_evaluation_takes_several_by_name():
    data = as_eval_data({"easy": ROWS, "hard": TABLE, "live": Endless()})
    assert [type(one) for one in data.values()] == [GivenRows, Dataset, Stream]
    assert isinstance(as_eval_data(SPLITS)["test"], Dataset)
    with pytest.raises(InputError, match="the evaluation data 'easy' is the text 'x'"):
        as_eval_data({"easy": "x"})
    with pytest.raises(InputError, match=r"is a dict: .* by name"):
        as_eval_data({"prompt": ["a"]})


def test_the_trainer_refuses_before_models_are_read(tmp_path):
    with pytest.raises(InputError, match="the training data is a DatasetDict"):
        CrossTokenizerTrainer("none", "neither", arguments(tmp_path), train_dataset=SPLITS)
    with pytest.raises(InputError, match="prompt 1 is None"):
        CrossTokenizerTrainer("none", "neither", arguments(tmp_path), train_dataset=[*ROWS[:1], {"text": "a"}, *ROWS])


def test_evaluating_on_other_data(pair, tmp_path):
    settings = arguments(tmp_path)
    trainer = CrossTokenizerTrainer(pair.student, pair.teacher, settings, eval_dataset={"one": ROWS, "two": TABLE})
    assert {"eval_one_loss", "eval_two_loss"} <= trainer.evaluate().keys()
    stream = IterableDataset.from_generator(lambda: iter(ROWS))
    found = trainer.evaluate({"list": ROWS, "stream": stream})
    assert {"eval_list_loss", "eval_stream_loss"} <= found.keys()
    with pytest.raises(InputError, match="the training data is missing"):
        trainer.train()
