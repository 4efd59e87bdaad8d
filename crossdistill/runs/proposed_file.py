"""The text of a proposed run file: each key with what it means and why it has its value."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from crossdistill.runs.keys import LORA, RUN_FILE, TRAIN, meanings
from crossdistill.runs.proposal import Entry

_WIDTH = 100
_HELD_OUT = """\
# Held-out prompts and problems, to see what training does (crossdistill train --keys):
# eval_dataset = "held-out.jsonl"   # the teacher gap before, during and after training
# eval_tasks = ["gsm8k"]            # the student's accuracy; `crossdistill eval --help` names the tasks
# eval_every = 20
"""


def proposed_file(entries: Sequence[Entry], command: str) -> str:
    """A run file as TOML with comments.

    Args:
        entries: its keys.
        command: that made it.
    """
    known = {"": meanings(RUN_FILE[0]), "train": meanings(TRAIN), "lora": meanings(LORA), "objective_options": {}}
    tables = list(dict.fromkeys(entry.table for entry in sorted(entries, key=lambda entry: bool(entry.table))))
    blocks = [f"# Made by: {command}\n# It can be trained as it stands: crossdistill train FILE --output runs/first\n"]
    for table in tables:
        own = [entry for entry in entries if entry.table == table]
        heading = f"[{table}]\n" if table else ""
        blocks.append(heading + "\n".join(_lines(entry, known[table].get(entry.key, "")) for entry in own))
        if not table:
            blocks.append(_HELD_OUT)
    return "\n".join(blocks)


def _lines(entry: Entry, meaning: str) -> str:
    comments = [*_wrapped(meaning), *(_wrapped(f"Here: {entry.why}.") if entry.why else [])]
    return "".join(f"# {line}\n" for line in comments) + f"{entry.key} = {as_toml(entry.value)}\n"


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


def as_toml(value: Any) -> str:
    """A value of a TOML file, on one line.

    Example:
        >>> as_toml({"enable_thinking": False, "names": ["<think>"], "rate": 1e-6})
        '{ enable_thinking = false, names = ["<think>"], rate = 1e-06 }'
    """
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {as_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    # a string of JSON is one of TOML, except for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    is_bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if is_bare else as_toml(key)
