"""Write the table of docs/data-formats.md: what `train` and `sft` make of a row of each format, by running them.

python tools/data_format_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from crossdistill import ByteVocab
from crossdistill.chat import render_prompt
from crossdistill.chat.prompts import as_prompt
from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.runs.sft_examples import IGNORED, ExampleMaker, Learning
from crossdistill.runs.sft_rows import answered_format
from crossdistill.train.data_format import prompt_row

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/data-formats.md")
BEGIN, END = "<!-- formats: written by tools/data_format_table.py -->\n\n", "\n\n<!-- end of formats -->"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""That of the demo's student, with marks around what the assistant says."""


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


TURNS = [_user("1+1?"), _assistant("2"), _user("And 2+2?"), _assistant("4")]
SAID = Learning(assistant_only=True)
EXAMPLES: list[tuple[str, dict[str, Any], Learning]] = [
    ("prompt, text", {"prompt": "1+1="}, Learning()),
    ("prompt, conversation", {"prompt": [_user("1+1?")]}, Learning()),
    ("prompt and completion, texts", {"prompt": "1+1=", "completion": "2"}, Learning()),
    ("prompt and completion, conversations", {"prompt": [_user("1+1?")], "completion": [_assistant("2")]}, Learning()),
    ("completion of several messages", {"prompt": TURNS[:1], "completion": TURNS[1:]}, Learning()),
    ("the same, `assistant_only_loss`", {"prompt": TURNS[:1], "completion": TURNS[1:]}, SAID),
    ("messages", {"messages": TURNS}, Learning()),
    ("the same, `assistant_only_loss`", {"messages": TURNS}, SAID),
    ("messages that end with the user", {"messages": TURNS[:3]}, Learning()),
    ("conversations (from, value)", {"conversations": [{"from": "user", "value": "1+1?"}]}, Learning()),
    ("text", {"text": "1+1=2"}, Learning()),
    ("preference", {"prompt": [_user("1+1?")], "chosen": [_assistant("2")], "rejected": [_assistant("3")]}, Learning()),
    ("preference, implicit prompt", {"chosen": TURNS[:2], "rejected": [TURNS[0], _assistant("3")]}, Learning()),
    ("tokenised", {"input_ids": [1, 2, 3]}, Learning()),
]
"""Name, row, and what SFT is told to learn."""


def table() -> str:
    """The formats as a Markdown table."""
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    tokenizer.chat_template = TEMPLATE
    rows = ["| format | a row | `train`: the student answers | `sft`: it reads, and **learns** |", "|---|---|---|---|"]
    for name, row, learning in EXAMPLES:
        shown = "" if name.startswith("the same") else _code(json.dumps(row))
        cells = shown, asked(tokenizer, row), learnt(tokenizer, row, learning)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def asked(tokenizer: Any, row: dict[str, Any]) -> str:
    """The prompt that a run of distillation makes of a row."""
    try:
        prompt = as_prompt(prompt_row(row, 0, "the data")["prompt"])
    except InputError:
        return "refused"
    return _code(tokenizer.decode(render_prompt(tokenizer, prompt)))


def learnt(tokenizer: Any, row: dict[str, Any], learning: Learning) -> str:
    """What a run of SFT makes of a row, with what is learnt in bold."""
    try:
        data_format = answered_format(list(row), "the data")
    except InputError:
        return "refused; with `teacher`, its response" if list(row) == ["prompt"] else "refused"
    maker = ExampleMaker(tokenizer, ByteVocab.from_tokenizer(tokenizer), learning)
    made = maker.make(row, 0, data_format)
    spans: list[tuple[bool, list[int]]] = []
    for token, label in zip(made["input_ids"], made["labels"], strict=True):
        if not spans or spans[-1][0] != (label != IGNORED):
            spans.append((label != IGNORED, []))
        spans[-1][1].append(token)
    return " ".join(
        f"**{_code(tokenizer.decode(ids))}**" if is_learnt else _code(tokenizer.decode(ids)) for is_learnt, ids in spans
    )


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def updated(page: str) -> str:
    """The text of the page with its table written anew."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    page = ROOT / PAGE
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
