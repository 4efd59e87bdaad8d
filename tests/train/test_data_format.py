"""A data set means the same prompts in whatever format it is, and unusable rows are named."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, IterableDataset

from crossdistill import InputError
from crossdistill.chat.prompts import as_prompt
from crossdistill.runs.config import RunConfig
from crossdistill.runs.train import load_prompts
from crossdistill.train.completions import completion_text
from crossdistill.train.data_format import DataFormat, as_prompts, prompt_row
from crossdistill.train.preflight.datasets import GivenRows, as_data
from crossdistill.train.preflight.rows import checked_row
from tests.models import MESSAGES
from tests.train.harness import RecordingTrainer, arguments

WHAT = "the training data"
ANSWER = {"role": "assistant", "content": "four"}
CALLS = [
    *MESSAGES[0],
    {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 12}}}]},
    {"role": "tool", "name": "add", "content": "42"},
]
FORMS: dict[str, list[dict[str, Any]]] = {
    "messages": [{"messages": [*prompt, ANSWER]} for prompt in MESSAGES],
    "messages as JSON": [{"messages": json.dumps([*prompt, ANSWER])} for prompt in MESSAGES],
    "messages without an answer": [{"messages": prompt} for prompt in MESSAGES],
    "conversations": [
        {"conversations": [{"from": one["role"], "value": one["content"]} for one in (*prompt, ANSWER)]}
        for prompt in MESSAGES
    ],
    "preference": [
        {"chosen": [*prompt, ANSWER], "rejected": [*prompt, {"role": "assistant", "content": "five"}]}
        for prompt in MESSAGES
    ],
    "prompt beside others": [{"prompt": prompt, "chosen": [ANSWER], "text": "x"} for prompt in MESSAGES],
}


def table(rows: list[dict[str, Any]], folder: Path) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Dataset.from_json(str(path))


@pytest.mark.parametrize("kind", ["table", "list", "stream"])
@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_the_same_in_every_form(tmp_path, form, kind):
    rows = FORMS[form]
    make = {"table": lambda: table(rows, tmp_path), "list": lambda: rows}
    make["stream"] = lambda: IterableDataset.from_generator(lambda: iter(rows))
    data = as_data(make[kind](), WHAT)
    read = [row["row"] for row in data.rows()] if kind == "stream" else list(data)
    assert "prompt" in data.column_names
    assert [as_prompt(row["prompt"]) for row in read] == MESSAGES
    if form == "messages":
        assert [completion_text(number, row["completion"]) for number, row in enumerate(read)] == ["four"] * len(rows)


def test_a_conversation_with_tools_keeps_its_calls(tmp_path):
    rows = [{"messages": [*CALLS, ANSWER], "id": 7}, {"messages": MESSAGES[1], "id": 8}]
    data = as_prompts(table(rows, tmp_path), WHAT)
    assert as_prompt(data[0]["prompt"]) == as_prompt(CALLS)
    assert data["id"][:] == [7, 8]
    assert data[1]["completion"] is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "x"}], r"has a 'text' column, and nothing says .*prompt_column = 'text'"),
        ([{"input_ids": [1]}], r"holds token ids \(input_ids\)"),
        ([{"question": "x"}], r"has no 'prompt' column, only question: .*prompt_column, messages_column"),
        ([{"messages": [ANSWER]}], "the 'messages' of row 0 holds nothing but an answer of the assistant"),
        ([{"messages": MESSAGES[0]}, {"messages": []}], "the 'messages' of row 1 is empty"),
        ([{"messages": "hello"}], "the 'messages' of row 0 is 'hello': it must be a list of messages"),
        ([{"chosen": "a b", "rejected": "a c"}], r"the prompt of row 0 is implicit, .* two texts"),
        ([{"chosen": [ANSWER], "rejected": MESSAGES[0]}], "the 'chosen' of row 0 differs from 'rejected' in its first"),
        (
            [{"messages": MESSAGES[0], "text": None}, {"messages": None, "text": "x"}],
            "row 1 has no 'messages' and has 'text', while other rows have 'messages'",
        ),
    ],
)
def test_what_holds_no_prompt_is_refused(rows, message):
    for given in (Dataset.from_list(rows), GivenRows(rows, WHAT)):
        with pytest.raises(InputError, match=message):
            as_prompts(given, WHAT) if isinstance(given, Dataset) else [
                prompt_row(row, number, WHAT) for number, row in enumerate(given)
            ]


def test_every_format_is_known_by_its_columns():
    columns = {
        DataFormat.PROMPT: ["prompt", "messages"],
        DataFormat.PROMPT_COMPLETION: ["completion", "prompt", "text"],
        DataFormat.MESSAGES: ["messages", "text"],
        DataFormat.TEXT: ["text", "input_ids"],
        DataFormat.PREFERENCE: ["chosen", "rejected"],
    }
    assert {DataFormat.of(names, WHAT): names for names in columns.values()} == columns


def test_a_run_file_names_the_column_of_conversations(pair, tmp_path, caplog):
    rows = [{"prompt": "x", "messages": [*prompt, ANSWER], "turns": [*prompt, ANSWER]} for prompt in MESSAGES]
    path = table(rows, tmp_path) and str(tmp_path / "rows.jsonl")
    run = {"student": pair.student, "teacher": pair.teacher, "dataset": path}
    named = load_prompts(RunConfig(**run, messages_column="turns"), path, "train")
    assert [as_prompt(prompt) for prompt in named["prompt"]] == MESSAGES
    with caplog.at_level(logging.WARNING, "crossdistill"):
        assert set(load_prompts(RunConfig(**run), path, "train")["prompt"]) == {"x"}
    assert "the column 'messages' of" in caplog.text


def test_the_trainer_samples_after_the_same_prompts(pair, tmp_path):
    trainers = []
    for kind, rows in {"prompts": [{"prompt": one} for one in MESSAGES], "messages": FORMS["messages"]}.items():
        options = arguments(tmp_path / kind, max_steps=1)
        trainers.append(RecordingTrainer(pair.student, pair.teacher, options, Dataset.from_list(rows)))
        trainers[-1].train()
    assert trainers[0].prompt_ids == trainers[1].prompt_ids
    assert trainers[0].steps[0]["loss"] == trainers[1].steps[0]["loss"]
    assert checked_row(0, trainers[1].train_dataset[0])["prompt"] == MESSAGES[0]
