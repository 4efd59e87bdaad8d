"""The prompts of a run: of the right shape, and ones that both sides can render, before a model is loaded."""

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError

_NUM_FIRST, _NUM_LONGEST = 1000, 100
_UNREAD_COLUMNS = ("chat_template_kwargs", "tools")
_LOGGER = logging.getLogger("crossdistill")


def parts(dataset: Any) -> list[Any]:
    """The data sets in `dataset`: none, one, or several by name."""
    if dataset is None:
        return []
    return list(dataset.values()) if isinstance(dataset, dict) else [dataset]


def check_prompts(dataset: Any, what: str) -> None:
    """A data set needs rows and a ``prompt`` column of texts or messages; None is allowed (no such data set)."""
    for part in parts(dataset):
        if part.column_names is not None and "prompt" not in part.column_names:
            raise InputError(
                f"{what} has no 'prompt' column, only {', '.join(part.column_names) or 'none'}: rename the column that "
                "holds the prompts (a text or a list of messages)."
            )
        if hasattr(part, "__len__") and len(part) == 0:
            raise InputError(f"{what} is empty: give at least one row with a prompt.")
        for column in _UNREAD_COLUMNS:
            if column in (part.column_names or ()):
                _LOGGER.warning(
                    f"the column {column!r} of {what} is not read: chat_template_kwargs, "
                    "teacher_chat_template_kwargs and tools are those of the whole run."
                )
        for row, prompt in _rows(part):
            check_prompt(row, prompt)


def check_prompt(row: int, prompt: Any) -> None:
    """A prompt is a text, or messages that each have a role and a text (whole or in text parts)."""
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
        shown = repr(prompt)
        raise InputError(
            f"prompt {row} is {shown if len(shown) < 80 else shown[:77] + '...'}: a prompt must be a text or a list of "
            "messages, each with a 'role' and a text as its 'content'."
        )


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content)
    return content is None or isinstance(content, str)


def _rows(dataset: Any) -> Iterator[tuple[int, Prompt]]:
    """All rows; none of a stream, which is read forwards only."""
    return enumerate(dataset["prompt"]) if hasattr(dataset, "__len__") else iter(())


def prompts_to_render(dataset: Any) -> list[tuple[int, Prompt]]:
    """The prompts, with their rows, that are rendered before a run.

    To render all would take minutes for a large data set. A template refuses a conversation for its roles and a context
    is exceeded by the longest, so these are the first ones, the longest ones in characters and one of each sequence of
    roles. No rows of a stream.
    """
    by_roles: dict[tuple[str, ...] | None, int] = {}
    sizes = []
    for row, prompt in _rows(dataset):
        by_roles.setdefault(_roles(prompt), row)
        sizes.append((_size(prompt), row))
    longest = [row for _, row in heapq.nlargest(_NUM_LONGEST, sizes)]
    chosen = {*range(min(_NUM_FIRST, len(sizes))), *longest, *by_roles.values()}
    prompts = dataset["prompt"] if chosen else []
    return [(row, prompts[row]) for row in sorted(chosen)]


def _roles(prompt: Prompt) -> tuple[str, ...] | None:
    return None if isinstance(prompt, str) else tuple(message["role"] for message in prompt)


def _size(prompt: Prompt) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(str(message.get("content"))) for message in prompt)


def check_conversations(
    name: str,
    side: PromptRenderer,
    context: int | None,
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    budget: int,
) -> None:
    """A side called `name` can render the prompts of these numbered rows within its context.

    context, budget: tokens of prompt and response together, and of a response.
    """
    for number, row in rows:
        check_rendering(name, side, number, row["prompt"], budget, context)


def rows_to_render(datasets: Iterable[Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The rows whose prompts are rendered before a run, each with its number in its data set."""
    every = [part for dataset in datasets for part in parts(dataset)]
    return [(number, part[number]) for part in every for number, _ in prompts_to_render(part)]


def rows_of(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """All rows; none of a stream."""
    for part in parts(dataset):
        yield from part if hasattr(part, "__len__") else ()


def check_rendering(
    name: str, side: PromptRenderer, row: int, prompt: Prompt, budget: int, context: int | None
) -> None:
    """A prompt can be rendered and fits the context of `name` together with the response budget."""
    if side.tools and isinstance(prompt, str):
        raise InputError(f"prompt {row} is a text, and tools need messages: give a list of messages, or no tools.")
    length = len(side.render(prompt))
    if context is not None and length + budget > context:
        raise InputError(
            f"prompt {row} has {length} tokens, which with a response of {budget} tokens "
            f"exceeds the {name}'s context of {context} tokens: lower the budget or drop the long prompts."
        )
