"""Rows of SFT: of every format, and those that are left out under a reason."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from crossdistill import InputError
from crossdistill.runs import sft as runs
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.interrupt import Interrupted
from crossdistill.runs.sft import sft
from crossdistill.runs.sft_rows import Reason, SFTRows
from tests.models import MESSAGES, TEXTS, Pair

TRAIN = {
    "per_device_train_batch_size": 2,
    "max_steps": 2,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
    "save_strategy": "no",
}
ROWS = [{"prompt": prompt, "completion": text} for prompt, text in zip(MESSAGES, TEXTS, strict=True)]
EVERY = "every token"
NULLS = dict.fromkeys(("prompt", "completion", "messages"))
TOO_LONG = {"prompt": MESSAGES[0], "completion": "long " * 200}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def config(pair: Pair, folder: Path, rows: list[dict[str, Any]], **options: Any) -> SFTRunConfig:
    data = written(folder / "rows.jsonl", rows)
    return SFTRunConfig(**{"student": pair.student, "dataset": data, "train": TRAIN, **options})


@pytest.mark.parametrize(
    ("rows", "left_out"),
    [
        (
            [
                {"prompt": "a", "completion": "b"},
                {"prompt": "a", "completion": None},
                {"prompt": None, "completion": "b"},
                {"prompt": "a", "completion": " \n"},
            ],
            {Reason.NULL: [1, 2], Reason.EMPTY: [3]},
        ),
        ([{"messages": None}, {"messages": []}, {"messages": [*MESSAGES[0], *said("x")]}, {"messages": said(" ")}],
         {Reason.NULL: [0], Reason.EMPTY: [1, 3]}),
        ([{"text": "x"}, {"text": ""}, {"text": None}], {Reason.EMPTY: [1], Reason.NULL: [2]}),
        ([{"conversations": [{"from": "user", "value": "x"}]}, {"conversations": [{"from": "user", "value": ""}]}],
         {Reason.EMPTY: [1]}),
    ],
    ids=["prompt and completion", "messages", "text", "conversations"],
)  # fmt: skip
def test_null_and_empty_rows_are_left_out(rows, left_out):
    read = SFTRows.of(Dataset.from_list(rows))
    assert read.left_out == left_out
    assert read.total == len(rows)
    assert [number for number, _ in read.texts()] == list(read.numbers)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{**NULLS, "prompt": "a", "completion": "b"}, {**NULLS, "messages": said("b")}],
            "row 1 has no 'prompt' and has 'messages', while other rows have 'prompt'",
        ),
        ([{"messages": "a text"}], "the 'messages' of row 0 is 'a text': it must be a list of messages"),
    ],
)  # fmt: skip
def test_rows_of_another_format_are_named(rows, message):
    with pytest.raises(InputError, match=message):
        list(SFTRows.of(Dataset.from_list(rows)).texts())


def test_answers_that_a_label_calls_bad_are_told():
    rows = [{"prompt": "a", "completion": "b", "label": one} for one in (True, False, False)]
    [finding] = SFTRows.of(Dataset.from_list(rows)).label_findings()
    assert "2 of the 3 rows" in finding.message


def test_every_row_and_token_is_counted(pair, output, tmp_path, caplog):
    rows = [
        *ROWS,
        {"prompt": MESSAGES[0], "completion": None},
        {"prompt": MESSAGES[0], "completion": "<|end|>"},
        TOO_LONG,
    ]
    run = sft(config(pair, tmp_path, rows), output)
    entry = run["data"]["training"]
    assert (entry["rows"], entry["used"], run["num_examples"]) == (11, 8, 8)
    assert entry["left_out"] == {"null": 1, "empty": 1, "too_long": 1}
    assert (entry["format"], entry["learnt"]) == ("prompt-completion", "the completions")
    assert min(entry["tokens"].values()) > 0
    assert "3 of the 11 rows of the data set" in caplog.text
    assert "1 longer than 128 tokens (row 10)" in caplog.text
    assert [finding["kind"] for finding in run["findings"]] == ["rows_left_out"]
    page = (output / "report.html").read_text()
    for text in ("1 null, 1 empty, 1 too long", "the completions", '<section id="curves">', f">{entry['used']}<"):
        assert text in page


def test_no_row_that_fits_is_refused(pair, output, tmp_path):
    with pytest.raises(
        InputError, match=r"no row of the data set .* can be used \(1 longer than 128 tokens \(row 0\)\)"
    ):
        sft(config(pair, tmp_path, [TOO_LONG]), output)
    assert not (output / "config.json").exists()


@pytest.mark.parametrize(
    ("rows", "options", "learnt"),
    [
        ([{"messages": [*prompt, *said("four")]} for prompt in MESSAGES], {}, EVERY),
        ([{"text": text} for text in TEXTS], {}, EVERY),
        ([{"turns": [*one, *said("four")], "prompt": "x"} for one in MESSAGES], {"messages_column": "turns"}, EVERY),
        ([{"story": text, "text": "x"} for text in TEXTS], {"text_column": "story"}, EVERY),
    ],
    ids=["messages", "text", "messages_column", "text_column"],
)  # fmt: skip
def test_a_run_on_every_format(pair, output, tmp_path, rows, options, learnt):
    run = sft(config(pair, tmp_path, rows, **options), output)
    entry = run["data"]["training"]
    assert (entry["used"], entry["learnt"]) == (8, learnt)
    assert entry["tokens"]["read_only"] == 8  # only the first token of each row is predicted by nothing
    assert all(row["loss"] > 0 for row in run["history"] if "loss" in row)


def test_a_prompt_beside_messages_is_told(pair, output, tmp_path, caplog):
    rows = [{**row, "messages": said("x")} for row in ROWS]
    with caplog.at_level(logging.WARNING, "crossdistill"):
        sft(config(pair, tmp_path, rows), output)
    assert (
        "the column 'messages' of" in caplog.text and "is not read, because there is a column 'prompt'" in caplog.text
    )


# ---- evaluation -----------------------------------------------------------------------------------------------------


def evaluated(pair: Pair, folder: Path, **train: Any) -> SFTRunConfig:
    held_out = written(folder / "held_out.jsonl", [*ROWS[:5], TOO_LONG])
    return config(pair, folder, ROWS, eval_dataset=held_out, train={**TRAIN, **train})


def test_the_held_out_loss_is_that_of_each_token_once(pair, output, tmp_path):
    run = sft(evaluated(pair, tmp_path, per_device_eval_batch_size=2), output)
    other = sft(evaluated(pair, tmp_path, per_device_eval_batch_size=5), tmp_path / "other")
    assert run["metric"] == "held-out loss, nats per token"
    for when in ("before", "after"):
        metric = run["metrics"][when]
        assert metric["mean"] == pytest.approx(other["metrics"][when]["mean"], rel=1e-5)  # whatever the batches are
        low, high = metric["ci"]
        assert low < metric["mean"] < high
        assert metric["n"] == 5
    assert run["data"]["evaluation"]["left_out"] == {"too_long": 1}
    assert '<section id="results">' in (output / "report.html").read_text()


def test_training_does_not_notice_the_evaluation(pair, output, tmp_path):
    losses = []
    for number, options in enumerate(({}, {"eval_strategy": "steps", "eval_steps": 1})):
        make = evaluated if options else config
        arguments = (pair, tmp_path) if options else (pair, tmp_path, ROWS)
        run = sft(make(*arguments, **options), output / str(number))
        losses.append([row["loss"] for row in run["history"] if "loss" in row])
    assert losses[0] == losses[1]
    assert sum("eval_loss" in row for row in run["history"]) == 3  # two steps and the end


def test_held_out_rows_need_answers(pair, output, tmp_path):
    held_out = written(tmp_path / "held_out.jsonl", [{"prompt": "a"}])
    with pytest.raises(InputError, match=r"held_out\.jsonl has no 'completion' column"):
        sft(config(pair, tmp_path, ROWS, eval_dataset=held_out), output)


@pytest.mark.slow
def test_an_interrupted_run_keeps_the_evaluation_before_training(pair, output, tmp_path, monkeypatch):
    train = {"save_strategy": "steps", "save_steps": 1, "max_steps": 4}
    whole = sft(evaluated(pair, tmp_path, **train), tmp_path / "whole")

    class StoppedAfterOne(runs.StopOnSignal):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                self._receive(15, None)
            super().on_step_end(args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "StopOnSignal", StoppedAfterOne)
        with pytest.raises(Interrupted):
            sft(evaluated(pair, tmp_path, **train), output)
    resumed = sft(evaluated(pair, tmp_path, **train), output, resume=True)
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["data"] == whole["data"]
