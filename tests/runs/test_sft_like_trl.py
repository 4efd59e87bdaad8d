"""What SFT learns of each format is what TRL's own SFTTrainer learns of the same rows; where it is not, it is shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from crossdistill import ByteVocab, InputError
from crossdistill.chat import render_prompt
from crossdistill.runs.sft import sft_trainer
from crossdistill.runs.sft_examples import IGNORED
from tests.models import TEXTS, Pair, student_model

CPU = {"use_cpu": True, "bf16": False, "report_to": "none", "max_steps": 1}
WHOLE = {"max_length": None, "gradient_checkpointing": None, "activation_checkpointing": False}
MARKED = (
    "{% if tools %}<|user|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message['role'] if message['role'] == 'assistant' else 'user' }}|>"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ call['function']['name'] }}{% endfor %}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A template that marks what the assistant says, and shows tools."""
QUESTION, ANSWER = {"role": "user", "content": "Add 12 and 30."}, {"role": "assistant", "content": "It is 42."}
AGAIN, LAST = {"role": "user", "content": "naïve café?"}, {"role": "assistant", "content": "Great 🤗"}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 12, "b": 30}}}
CALLED = [
    QUESTION,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "add", "content": "42"},
    ANSWER,
]
SCHEMA = {"name": "add"}
TURNS = [QUESTION, ANSWER, AGAIN, LAST]
FROM_VALUE = [{"from": one["role"], "value": one["content"]} for one in TURNS]

SAME = {
    "messages": ({}, [{"messages": TURNS}, {"messages": [QUESTION, ANSWER]}]),
    "messages that end with the user": ({}, [{"messages": TURNS[:3]}]),
    "messages, what the assistant says": ({"assistant_only_loss": True}, [{"messages": TURNS}]),
    "messages with a tool": ({}, [{"messages": CALLED, "tools": json.dumps([SCHEMA])}]),
    "messages with a tool, what the assistant says": (
        {"assistant_only_loss": True},
        [{"messages": CALLED, "tools": json.dumps([SCHEMA])}],
    ),
    "conversations": ({}, [{"conversations": FROM_VALUE}]),
    "text": ({}, [{"text": "Once upon a time"}, {"text": "naïve café: déjà vu?<|end|>"}]),
    "prompt and completion as messages": ({}, [{"prompt": [QUESTION], "completion": [ANSWER]}]),
    "prompt of several turns": ({}, [{"prompt": TURNS[:3], "completion": [LAST]}]),
    "completion of several turns": ({}, [{"prompt": [QUESTION], "completion": TURNS[1:]}]),
    "completion with a tool call": ({}, [{"prompt": CALLED[:1], "completion": CALLED[1:]}]),
    "completion of several turns, what the assistant says": (
        {"assistant_only_loss": True},
        [{"prompt": [QUESTION], "completion": TURNS[1:]}],
    ),
    "prompt and completion, every token": (
        {"completion_only_loss": False},
        [{"prompt": [QUESTION], "completion": [ANSWER]}],
    ),
    "prompt and completion as texts": ({}, [{"prompt": "Add 12 and 30:", "completion": "\n42"}]),
}


EVERY_TOKEN = {
    "messages",
    "messages that end with the user",
    "messages with a tool",
    "conversations",
    "text",
    "prompt and completion, every token",
}
"""Cases in which every token is a label."""


def tokenizer_of(pair: Pair, template: str = MARKED) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    tokenizer.chat_template = template
    return tokenizer


def of_trl(pair: Pair, rows: Any, folder: Path, template: str = MARKED, **options: Any) -> list[dict[str, Any]]:
    """Ids and labels that TRL makes, without cutting."""
    tokenizer = tokenizer_of(pair, template)
    arguments = SFTConfig(str(folder), **CPU, **WHOLE, **options)
    trainer = SFTTrainer(student_model(tokenizer), arguments, train_dataset=rows, processing_class=tokenizer)
    return list(trainer.train_dataset.select_columns(["input_ids", "labels"]))


def of_ours(pair: Pair, rows: Any, folder: Path, template: str = MARKED, **options: Any) -> list[dict[str, Any]]:
    tokenizer = tokenizer_of(pair, template)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    trainer = sft_trainer(pair.student, tokenizer, vocab, rows, folder, {**CPU, **options})
    return list(trainer.train_dataset)


def as_read(rows: list[dict[str, Any]], folder: Path) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Dataset.from_json(str(path))


@pytest.mark.parametrize("case", SAME)
def test_ids_and_labels_are_those_of_trl(pair, tmp_path, case):
    options, rows = SAME[case]
    data = as_read(rows, tmp_path)
    ours, theirs = of_ours(pair, data, tmp_path, **options), of_trl(pair, data, tmp_path, **options)
    assert ours == theirs
    assert any(label == IGNORED for row in ours for label in row["labels"]) == (case not in EVERY_TOKEN)


def test_a_template_s_line_break_after_the_end_of_a_turn_is_not_learnt(pair, tmp_path):
    """TRL learns it in the completion; a sampled response ends with its stop token."""
    template = MARKED.replace("<|end|>{% endgeneration %}", "<|end|>{% endgeneration %}{{ '\\n' }}")
    data = as_read([{"prompt": [QUESTION], "completion": [ANSWER]}], tmp_path)
    (ours,), (theirs,) = of_ours(pair, data, tmp_path, template), of_trl(pair, data, tmp_path, template)
    after = tokenizer_of(pair)("\n")["input_ids"]
    assert theirs["input_ids"] == ours["input_ids"] + after
    assert theirs["labels"] == ours["labels"] + after


def test_no_token_crosses_the_border_of_texts(pair, tmp_path):
    """TRL tokenises prompt and completion as one text: the student would learn a tokenisation that it never meets."""
    tokenizer = tokenizer_of(pair)
    text, border = next(crossed(tokenizer))
    data = as_read([{"prompt": text[:border], "completion": text[border:]}], tmp_path)
    (ours,), (theirs,) = of_ours(pair, data, tmp_path), of_trl(pair, data, tmp_path)
    prompt = render_prompt(tokenizer, text[:border])
    assert ours["input_ids"][: len(prompt)] == prompt
    assert theirs["input_ids"][: len(prompt)] != prompt
    assert tokenizer.decode(ours["input_ids"]) == tokenizer.decode(theirs["input_ids"])


def crossed(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """Texts with places within a token."""
    for text in TEXTS:
        whole = tokenizer(text)["input_ids"]
        for border in range(1, len(text)):
            ids = tokenizer(text[:border])["input_ids"]
            if whole[: len(ids)] != ids:
                yield text, border


def test_a_name_of_a_control_token_in_a_completion_stays_text(pair, tmp_path):
    data = as_read([{"prompt": [QUESTION], "completion": [{"role": "assistant", "content": "a <|user|> b"}]}], tmp_path)
    (ours,), (theirs,) = of_ours(pair, data, tmp_path), of_trl(pair, data, tmp_path)
    (control,) = tokenizer_of(pair)("<|user|>")["input_ids"]
    assert (ours["labels"].count(control), theirs["labels"].count(control)) == (0, 1)


@pytest.mark.parametrize(
    ("options", "rows", "said"),
    [
        ({"assistant_only_loss": True}, [{"text": "one"}], "assistant_only_loss has no meaning for the training data"),
        ({}, [{"prompt": "one"}], "has no 'completion' column, only prompt: name the column .* or a teacher"),
        ({}, [{"chosen": TURNS, "rejected": TURNS[:2]}], r"pairs of .*\(messages_column = 'chosen'\)"),
        ({}, [{"prompt": "a", "chosen": "b", "rejected": "c"}], r"pairs of .*\(completion_column = 'chosen'\)"),
        ({}, [{"input_ids": [1, 2]}], r"token ids \(input_ids\)"),
    ],
)
def test_what_cannot_be_learnt_is_refused(pair, tmp_path, options, rows, said):
    with pytest.raises(InputError, match=said):
        of_ours(pair, as_read(rows, tmp_path), tmp_path, **options)


def test_a_template_without_marks_cannot_tell_what_the_assistant_says(pair, tmp_path):
    with pytest.raises(InputError, match=r"neither marks it \(\{% generation %\}\) nor is one of those that TRL has"):
        of_ours(pair, as_read([{"messages": TURNS}], tmp_path), tmp_path, "{{ messages }}", assistant_only_loss=True)
