"""Tables of keys for the documentation, made from the code while the pages are built (a hook of mkdocs).

In a page, ``<!-- keys of train -->`` stands for the tables of a file, and ``<!-- fields of module:Class -->`` for our
own fields of one class. Nothing is written to the repository, so a page cannot differ from the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crossdistill.arena.file import ARENA_FILE
from crossdistill.keys.key import Key
from crossdistill.keys.table import Table
from crossdistill.runs.keys import LORA, RUN_FILE, SERVER, SFT_FILE, TRAIN

ROOT = Path(__file__).parents[1]
VERL = Table("crossdistill", "crossdistill.integrations.verl.options", "VerlOptions")
FILES: dict[str, Sequence[Table]] = {
    "train": RUN_FILE,
    "sft": SFT_FILE,
    "arena": [table for table in ARENA_FILE if table not in (TRAIN, LORA)],
    "verl": (VERL,),
    "server": (SERVER,),
}
_PLACE = re.compile(r"^<!-- (keys|fields) of (\S+) -->$", flags=re.MULTILINE)
_LIBRARIES = {
    "trl": "TRL's own",
    "transformers": "transformers' own",
    "peft": "peft's own",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page with its tables; mkdocs calls it for each page."""
    return _PLACE.sub(lambda place: _of_file(place[2]) if place[1] == "keys" else _of_class(place[2]), markdown)


def _of_file(name: str) -> str:
    return "\n\n".join(_sections(FILES[name]))


def _sections(tables: Sequence[Table]) -> Iterator[str]:
    """A heading and a table for each table of a file, and for each library that some of its keys are from."""
    for table in tables:
        title = f"`[{table.path}]` {table.note}".rstrip() if table.path else "At the top of the file"
        for owner in dict.fromkeys(key.owner for key in table.keys):
            of_library = f", {_LIBRARIES[owner]}" if owner in _LIBRARIES else ""
            yield f"### {title}{of_library}"
            yield as_markdown([key for key in table.keys if key.owner == owner])


def _of_class(path: str) -> str:
    module, _, kind = path.partition(":")
    return as_markdown([key for key in Table("", module, kind).keys if key.is_ours])


def as_markdown(keys: Sequence[Key]) -> str:
    """Keys as a table of Markdown."""
    rows = [
        f"| `{key.name}` | {_code(key.type)} | {'must be given' if key.default is None else _code(key.default)} "
        f"| {_escaped(key.meaning)} |"
        for key in keys
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _code(text: str) -> str:
    return f"`{text}`"


def _escaped(text: str) -> str:
    """Prose in a cell: code stays code, and nothing else is taken for markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(
        part if number % 2 else re.sub(r"([\\|*_<>\[\]])", r"\\\1", part) for number, part in enumerate(parts)
    )
