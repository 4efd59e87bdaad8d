"""Streams: rows are checked as they come, with their numbers; they last for all steps, and are not read twice."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset

from crossdistill import InputError
from crossdistill.train.stream import Stream, StreamError
from tests.models import MESSAGES, Pair
from tests.train.harness import BATCH, RecordingTrainer, arguments

ROWS = [{"prompt": prompt} for prompt in (MESSAGES * 8)[:32]]
LONG = "one two three four five six seven eight nine ten " * 400


def stream(rows: Any) -> IterableDataset:
    return IterableDataset.from_generator(lambda: iter(rows))


def with_row(number: int, row: Any) -> list[Any]:
    return [*ROWS[:number], row, *ROWS[number + 1 :]]


def make(pair: Pair, output: Path, train: Any, evaluation: Any = None, **options: Any) -> RecordingTrainer:
    settings = arguments(output, **{"max_steps": 3, "shuffle_dataset": False, **options})
    return RecordingTrainer(pair.student, pair.teacher, settings, train_dataset=train, eval_dataset=evaluation)


def saved(output: Path) -> list[str]:
    return sorted(path.name for path in output.glob("checkpoint-*"))


class TorchStream(torch.utils.data.IterableDataset[Any]):
    def __init__(self, rows: Any):
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


BAD_ROWS: dict[str, tuple[Any, str]] = {
    "a prompt that is None": ({"prompt": None}, "prompt 9 is None"),
    "a prompt of another kind": ({"prompt": 7}, "prompt 9 is 7"),
    "no prompt": ({"question": "?"}, "row 9 has no 'prompt', only question"),
    "no row": (None, "row 9 is None"),
    "a row that is a text": ("what is this", "row 9 is 'what is this'"),
    "a prompt that is too long": ({"prompt": LONG}, "prompt 9 has"),
}


@pytest.mark.parametrize("kind", [*BAD_ROWS][:1] + [pytest.param(k, marks=pytest.mark.slow) for k in [*BAD_ROWS][1:]])
@pytest.mark.parametrize("make_stream", [stream, pytest.param(TorchStream, marks=pytest.mark.slow)])
def test_a_bad_row_ends_the_run_after_a_checkpoint(pair, tmp_path, kind, make_stream):
    row, reason = BAD_ROWS[kind]
    trainer = make(pair, tmp_path, make_stream(with_row(9, row)))
    expected = f"row 9 of the training data cannot be used: {reason}.*The 2 steps that were trained are in a checkpoint"
    with pytest.raises(InputError, match=expected):
        trainer.train()
    assert saved(tmp_path) == ["checkpoint-2"]
    mended = make(pair, tmp_path, make_stream(ROWS))
    mended.train(resume_from_checkpoint=True)
    whole = make(pair, tmp_path / "whole", make_stream(ROWS))
    whole.train()
    assert [entry["loss"] for entry in mended.steps] == [entry["loss"] for entry in whole.steps]
    assert mended.prompt_ids == whole.prompt_ids[2:]  # the rows that were seen are not read again


def test_the_number_is_the_sources_if_rows_are_shuffled(pair, tmp_path):
    trainer = make(pair, tmp_path, stream(with_row(9, {"prompt": None})), shuffle_dataset=True, max_steps=8)
    with pytest.raises(StreamError, match="row 9 of the training data"):
        trainer.train()


@pytest.mark.slow
def test_columns_that_are_not_used_may_be_removed(pair, tmp_path):
    given = [{**row, "question": "?"} for row in ROWS]
    trainer = make(pair, tmp_path, stream(given), remove_unused_columns=True, max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.slow
def test_micro_batches(pair, tmp_path):
    options = {"per_device_train_batch_size": BATCH // 2, "gradient_accumulation_steps": 2}
    trainer = make(pair, tmp_path, stream(with_row(9, {"prompt": None})), **options)
    with pytest.raises(StreamError, match="row 9 of the training data"):
        trainer.train()
    assert saved(tmp_path) == ["checkpoint-2"]


def failing() -> Iterator[Any]:
    yield from ROWS[:9]
    raise KeyError("question")


def test_a_stream_that_fails(pair, tmp_path):
    trainer = make(pair, tmp_path, IterableDataset.from_generator(failing))
    with pytest.raises(
        StreamError, match=r"row 9 of the training data cannot be used: the stream fails \(KeyError: 'q"
    ):
        trainer.train()
    assert saved(tmp_path) == ["checkpoint-2"]


def test_a_bad_row_of_evaluation(pair, tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 2}
    trainer = make(pair, tmp_path, stream(ROWS), stream(with_row(9, {"prompt": 3})), **options)
    with pytest.raises(StreamError, match="row 9 of the evaluation data"):
        trainer.train()
    assert saved(tmp_path) == ["checkpoint-2"]


def test_completions_and_teachers_of_a_stream(pair, tmp_path):
    given = [{**row, "completion": "a b"} for row in ROWS]
    given[9] = {**ROWS[9], "completion": None}
    options = {"objective": "simct", "on_policy_share": 0.0}
    with pytest.raises(StreamError, match=r"row 9 of the .*: the completion of row 9 is None"):
        make(pair, tmp_path, stream(given), **options).train()
    assert saved(tmp_path) == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"question": "x"}], "has no 'prompt' column, only question"),
        ([{"prompt": None}], "prompt 0 is None"),
        ([{"prompt": LONG}], "prompt 0 has"),
        ([None], "row 0 is None"),
        ([], "the training data is empty"),
        (7, r"the training data cannot be read \(TypeError"),
    ],
)
def test_the_first_row_is_refused_before_models_are_loaded(pair, tmp_path, monkeypatch, rows, reason):
    monkeypatch.setattr("trl.trainer.distillation_trainer.create_model_from_path", None)
    with pytest.raises(InputError, match=reason):
        make(pair, tmp_path, stream(rows))


def test_a_stream_of_unknown_length_needs_max_steps(pair, tmp_path):
    with pytest.raises(InputError, match="set max_steps"):
        make(pair, tmp_path, stream(ROWS), max_steps=-1)


@pytest.mark.parametrize("make_stream", [stream, pytest.param(TorchStream, marks=pytest.mark.slow)])
@pytest.mark.parametrize("num_rows", [8, pytest.param(11, marks=pytest.mark.slow)])
def test_a_stream_that_is_too_short(pair, tmp_path, make_stream, num_rows):
    expected = f"ended after {num_rows} rows, and max_steps = 3 takes 12, 4 a step"
    with pytest.raises(InputError, match=expected):
        make(pair, tmp_path, make_stream(ROWS[:num_rows])).train()
    assert saved(tmp_path) == ["checkpoint-2"]


def test_a_stream_that_is_just_long_enough(pair, tmp_path):
    trainer = make(pair, tmp_path, stream(ROWS[:12]))
    trainer.train()
    assert trainer.state.global_step == 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_is_read_as_the_same_rows_in_a_table(pair, tmp_path, shuffle):
    if shuffle:  # the order differs, because a stream is shuffled within a buffer
        streamed = make(pair, tmp_path, stream(ROWS[:12]), shuffle_dataset=True)
        streamed.train()
        assert len(list(itertools.chain(*streamed.prompt_ids))) == 12
        return
    streamed, table = make(pair, tmp_path, stream(ROWS)), make(pair, tmp_path, Dataset.from_list(ROWS))
    streamed.train()
    table.train()
    assert streamed.prompt_ids == table.prompt_ids


# ---- the stream itself ----------------------------------------------------------------------------------------------


def test_reading_ahead_loses_no_row():
    once = iter(ROWS)
    ahead = Stream(IterableDataset.from_generator(lambda: once), "the training data")  # it gives its rows to one reader
    assert ahead.ahead() == ROWS[:1]
    assert [item["row"] for item in ahead.dataset] == ROWS
    assert ahead.num_rows == len(ROWS)


def test_a_stream_is_read_anew_each_time():
    twice = Stream(stream(ROWS), "the training data")
    assert twice.ahead() == ROWS[:1]
    for _ in range(2):
        assert [item["number"] for item in twice.dataset] == list(range(len(ROWS)))


def test_streams_of_torch_are_not_read_ahead():
    class Waiting(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("it would wait for rows that come later")

    waiting = Stream(Waiting(), "the training data", can_peek=False)
    assert waiting.ahead() == []
    assert waiting.column_names is None


def test_what_reads_a_stream_need_not_be_hashed():
    make_row: Callable[[], Any] = lambda: ({"prompt": "a"} for _ in range(2))  # noqa: E731
    generator = make_row()
    assert [item["row"] for item in Stream(generator, "the training data").dataset] == [{"prompt": "a"}] * 2
