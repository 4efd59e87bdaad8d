"""Prompts as verl reads them: a parquet file with a row for each."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from crossdistill.chat.messages import Prompt
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError
from crossdistill.integrations.verl import NAME


def verl_rows(rows: Iterable[Mapping[str, Any]], source: str = NAME) -> list[dict[str, Any]]:
    """Rows of a data set of ours in verl's form.

    Args:
        rows: each with a ``prompt``, and perhaps the name of its ``teacher``.
        source: name of the data set, under which verl logs its validation.

    Returns:
        For each row: ``prompt`` (messages), ``data_source``, ``reward_model``, ``extra_info`` and perhaps ``teacher``.

    Raises:
        InputError: a prompt that is no list of messages, as verl's must be.

    Example:
        >>> [row] = verl_rows([{"prompt": [{"role": "user", "content": "1 + 1?"}]}])
        >>> row["prompt"], row["extra_info"]
        ([{'role': 'user', 'content': '1 + 1?'}], {'index': 0})
    """
    return [_row(number, row, source) for number, row in enumerate(rows)]


def write_prompts(rows: Iterable[Mapping[str, Any]], path: Path, source: str = NAME) -> list[Prompt]:
    """Write a parquet file for verl.

    Args:
        rows: as for :func:`verl_rows`.
        path: of the file.
        source: as for :func:`verl_rows`.

    Returns:
        The prompts.

    Raises:
        InputError: as for :func:`verl_rows`.
    """
    from datasets import Dataset

    made = verl_rows(rows, source)
    Dataset.from_list(made).to_parquet(str(path))
    return [row["prompt"] for row in made]


def longest_prompt(prompts: Iterable[Prompt], render: Callable[[Prompt], list[int]]) -> int:
    """Tokens of the longest prompt in the student's template."""
    return max(len(render(prompt)) for prompt in prompts)


def _row(number: int, row: Mapping[str, Any], source: str) -> dict[str, Any]:
    prompt = as_prompt(row["prompt"], prompt_name(number))
    if isinstance(prompt, str):
        raise InputError(
            f"{prompt_name(number)} is a text, and verl's prompts are conversations: write it as a list of messages, "
            '[{"role": "user", "content": ...}].'
        )
    made = {
        "data_source": source,
        "prompt": prompt,
        "reward_model": {"style": "rule", "ground_truth": str(row.get("answer") or "")},
        "extra_info": {"index": number},
    }
    return {**made, COLUMN: row[COLUMN]} if row.get(COLUMN) is not None else made
