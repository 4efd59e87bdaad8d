"""The data of a run: prompts of the right shape, and enough of them; the choice of those that are rendered before."""

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

from crossdistill.chat.messages import Prompt
from crossdistill.chat.prompts import as_prompt, prompt_name, with_prompt
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError
from crossdistill.train.off_policy import check_responses
from crossdistill.train.stream import Stream

_NUM_FIRST, _NUM_LONGEST = 1000, 100
_UNREAD_COLUMNS = ("chat_template_kwargs", "tools")
_LOGGER = logging.getLogger("crossdistill")


def check_data(args: Any, train_dataset: Any, eval_dataset: Any) -> None:
    """Check what needs neither tokenizer nor model.

    Args:
        args: the trainer's configuration.
        train_dataset: with a column ``prompt``; None if there is no such data set.
        eval_dataset: likewise; or several by name.

    Raises:
        InputError: a data set that cannot be trained or evaluated on.
    """
    check_prompts(train_dataset, "the training data")
    check_prompts(eval_dataset, "the evaluation data")
    check_batches(train_dataset, args)
    check_responses(train_dataset, args.on_policy_share, args.off_policy)


# ---- shape ----------------------------------------------------------------------------------------------------------


def check_prompts(dataset: Any, what: str) -> None:
    """Check that a data set has rows and a ``prompt`` column of texts or messages.

    Args:
        dataset: one, several by name, or None. Of a stream only the columns are checked.
        what: what messages call it, such as "the training data".

    Raises:
        InputError: a data set or a row that is not so.
    """
    for part in parts_of(dataset):
        if hasattr(part, "__len__") and len(part) == 0:
            raise InputError(f"{what} is empty: give at least one row with a prompt.")
        if part.column_names is not None and "prompt" not in part.column_names:
            raise InputError(
                f"{what} has no 'prompt' column, only {', '.join(part.column_names) or 'none'}: rename the column that "
                "holds the prompts (a text or a list of messages)."
            )
        for column in _UNREAD_COLUMNS:
            if column in (part.column_names or ()):
                _LOGGER.warning(
                    f"the column {column!r} of {what} is not read: set chat_template_kwargs, "
                    "teacher_chat_template_kwargs and tools for the whole run."
                )
        for _ in numbered_prompts(part):
            """Each is looked at."""
        for row in part.ahead() if isinstance(part, Stream) else []:
            checked_row(0, row)


def checked_row(number: int, row: Any) -> dict[str, Any]:
    """A row with its prompt as :func:`crossdistill.chat.prompts.as_prompt` reads it.

    Raises:
        InputError: it holds none; the message names `number`.
    """
    if not isinstance(row, Mapping):
        raise InputError(f"row {number} is {row!r}: each row must be a dict with a 'prompt'.")
    if "prompt" not in row:
        raise InputError(f"row {number} has no 'prompt', only {', '.join(row) or 'nothing'}: each row must have one.")
    return with_prompt(row, prompt_name(number))


def check_batches(dataset: Any, args: Any) -> None:
    """Check that the training data fills one step; of a stream, that each of its batches serves one step.

    Raises:
        InputError: too few prompts, or a stream whose rows would be needed twice.
    """
    if dataset is None:
        return
    if not hasattr(dataset, "__len__"):
        for name in ("num_iterations", "num_generations"):
            if getattr(args, name) > 1:
                raise InputError(
                    f"{name} = {getattr(args, name)} cannot be used with streamed training data, which is read once: "
                    "set it to 1, or load the data without streaming."
                )
        if args.max_steps <= 0:
            raise InputError("of streamed training data the length is not known: set max_steps.")
        return
    responses = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    needed = responses // args.num_generations
    if len(dataset) < needed:
        raise InputError(
            f"the training data has {len(dataset)} prompts and a step takes {needed}: give more prompts, or lower "
            "per_device_train_batch_size or gradient_accumulation_steps."
        )


# ---- rows -----------------------------------------------------------------------------------------------------------


def all_rows(datasets: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """All rows of several data sets, one after the other; none of a stream, which is read forwards only."""
    for dataset in datasets:
        for part in parts_of(dataset):
            yield from map(with_prompt, part if hasattr(part, "__len__") else ())


def spelled_rows(datasets: Iterable[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The prompt of every row, with what routes it and its number in its data set; of a stream, its first row."""
    for part in (part for dataset in datasets for part in parts_of(dataset)):
        if isinstance(part, Stream):
            yield from ((0, with_prompt(row)) for row in part.ahead())
            continue
        names = part[COLUMN] if COLUMN in (part.column_names or ()) and hasattr(part, "__len__") else repeat(None)
        for (number, prompt), name in zip(numbered_prompts(part), names, strict=False):
            yield number, {"prompt": prompt, COLUMN: name}


def num_rows(dataset: Any) -> int | None:
    """The number of rows of a data set; None if there is no data set, or a stream."""
    return len(dataset) if hasattr(dataset, "__len__") else None


def rows_to_render(datasets: Iterable[Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The rows whose prompts are rendered before a run, each with its number in its data set."""
    every = [part for dataset in datasets for part in parts_of(dataset)]
    first = [(0, with_prompt(row)) for part in every if isinstance(part, Stream) for row in part.ahead()]
    return first + [(number, with_prompt(part[number])) for part in every for number, _ in prompts_to_render(part)]


def prompts_to_render(dataset: Any) -> list[tuple[int, Prompt]]:
    """The prompts, with their row numbers, that are rendered before a run.

    Rendering all of them would take minutes for a large data set. A template refuses a conversation for its roles, and
    the longest prompt exceeds a context, so these are the first prompts, the longest in characters and one of each
    sequence of roles. None of a stream.
    """
    by_roles: dict[tuple[str, ...] | None, int] = {}
    sizes = []
    for row, prompt in numbered_prompts(dataset):
        by_roles.setdefault(_roles(prompt), row)
        sizes.append((_num_chars(prompt), row))
    longest = [row for _, row in heapq.nlargest(_NUM_LONGEST, sizes)]
    chosen = {*range(min(_NUM_FIRST, len(sizes))), *longest, *by_roles.values()}
    prompts = dataset["prompt"] if chosen else []
    return [(row, as_prompt(prompts[row])) for row in sorted(chosen)]


def parts_of(dataset: Any) -> list[Any]:
    """The data sets in `dataset`: none, one, or several by name."""
    if dataset is None:
        return []
    return list(dataset.values()) if isinstance(dataset, dict) else [dataset]


def numbered_prompts(dataset: Any) -> Iterator[tuple[int, Prompt]]:
    """All prompts; none of a stream, which is read forwards only.

    Raises:
        FindingError: one is no prompt; the message names its row.
    """
    values = dataset["prompt"] if hasattr(dataset, "__len__") else ()
    return ((row, as_prompt(value, prompt_name(row))) for row, value in enumerate(values))


def _roles(prompt: Prompt) -> tuple[str, ...] | None:
    return None if isinstance(prompt, str) else tuple(message["role"] for message in prompt)


def _num_chars(prompt: Prompt) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(str(message.get("content"))) for message in prompt)
