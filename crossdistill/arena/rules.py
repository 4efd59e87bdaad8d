"""What a cell follows from, as a digest: models and data by their content, so that a folder may move."""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from crossdistill.arena.cell import START, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.settings import problems_of, run_config, template_kwargs
from crossdistill.eval.digest import digest
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.evaluated_model import fingerprint
from crossdistill.runs.held_out import read_tasks

_FILES_OF_FOLDERS = ("*.json", "*.jinja", "*.model", "*.txt", "*.jsonl", "*.csv", "*.parquet", "*.arrow")
"""Beside weights: what a model's folder says, and data."""
_FILES = {"student", "teacher", "teacher_tokenizer", "dataset", "model", "tokenizer", "source", "task"}


def rules_of(arena: ArenaFile, cell: Cell) -> str:
    """A digest of everything that a cell follows from, but the versions of what runs it.

    Args:
        arena: the file.
        cell: of it.

    Returns:
        SHA-256, in hexadecimal.
    """
    pair = arena.pairs[cell.pair]
    if cell.stage == "model":
        what: Any = {"model": content_of(pair.student if cell.method == START else pair.teacher)}
        kwargs = template_kwargs(arena, cell)
        what |= {"chat_template_kwargs": kwargs} if kwargs else {}
    else:
        what = _with_contents(_said(run_config(arena, cell)))
    problems = {
        name: [_problems_digest(table.model_dump_json()), _with_contents(_said(table))]
        for name, table in problems_of(arena, cell).items()
    }
    unrelated = arena.task_of(cell.pair).unrelated
    rules = [cell.id, what, problems, None if unrelated is None else content_of(unrelated)]
    return sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def _said(config: BaseModel) -> dict[str, Any]:
    """What a configuration says, without defaults: a key that is added later changes nothing of what was run."""
    return config.model_dump(mode="json", exclude_defaults=True)


@cache
def content_of(name: str) -> str:
    """A digest of a file, or of a folder with a model or data; the name itself of what is not on this machine."""
    path = Path(name)
    if path.is_file():
        return sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return name
    files = [file for pattern in _FILES_OF_FOLDERS for file in sorted(path.glob(pattern))]
    texts = [(file.name, sha256(file.read_bytes()).hexdigest()) for file in files]
    return sha256(json.dumps([texts, fingerprint(name, name)]).encode()).hexdigest()


def _with_contents(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_contents(entry, name) for name, entry in value.items()}
    return content_of(value) if key in _FILES and isinstance(value, str) else value


@cache
def _problems_digest(table: str) -> str:
    [held] = read_tasks({"problems": EvalTaskTable.model_validate_json(table)}, {}, is_grading=False)
    return digest(held.problems)
