"""Models without a chat template of their own, as base models, and prompts that pass a template by."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from crossdistill.chat.prompts import prompt_name
from crossdistill.chat.template import PLAIN_TEMPLATE
from crossdistill.findings import Finding, Kind, Severity, When

BASE_TEACHER = Kind(
    "base_teacher",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the {side} has no chat template, as a base model, which never learned to end a turn, and the end of a turn is "
    "taught by its probability of {stops}: set stop_unit = false, or take its instruct model.",
    "the student is taught not to end its answers",
)
TEACHER_CALLED_BASE = Kind(
    "teacher_called_base",
    Severity.NOTICE,
    When.BEFORE_WEIGHTS,
    "the {side} {name!r} is called a base model: if it does not end its turns, set stop_unit = false; the run measures "
    "it on its first responses.",
    "nothing if it ends its turns; else the student is taught not to end its answers",
)
NO_TEMPLATE = Kind(
    "student_without_template",
    Severity.NOTICE,
    When.BEFORE_WEIGHTS,
    "the student has no chat template, so that conversations are written to it as 'User: ...' and 'Assistant: ...', "
    "and it is saved with that template: a base model learns it in the run, or before it by `crossdistill sft`.",
    "nothing, if the student is a base model; another one is asked in a way in which it was not trained to be asked",
)
TEXT_PROMPTS = Kind(
    "text_prompts_to_chat_model",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{name} is a text{others}, which no chat template renders, and the student has one: give it as messages, "
    '[{{"role": "user", "content": ...}}], unless the student is to continue texts.',
    "the student is trained to answer texts that nobody asks it with, and its answers to conversations are another "
    "matter",
)

_BASE = re.compile(r"(?:^|[-_.])(?:base|pt|pretrained)(?:$|[-_.])", re.IGNORECASE)


def has_own_template(tokenizer: Any) -> bool:
    """Whether a tokenizer has a chat template that is not the plain one, which it is given if it has none.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> from crossdistill.chat import ensure_template
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> ensure_template(tokenizer), has_own_template(tokenizer)
        (True, False)
    """
    template = tokenizer.chat_template
    return bool(template) and not (isinstance(template, str) and template.endswith(PLAIN_TEMPLATE))


def is_called_base(name: Any) -> bool:
    """Whether a folder or hub id is called as base models are.

    Example:
        >>> [is_called_base(name) for name in ("Qwen/Qwen3-8B-Base", "google/gemma-3-1b-pt", "Qwen/Qwen3-8B")]
        [True, True, False]
    """
    return isinstance(name, str) and bool(_BASE.search(PurePath(name).name))


def teacher_findings(side: str, name: Any, has_template: bool, stops: Iterable[str]) -> Iterator[Finding]:
    """What a teacher of the ends of turns should not be.

    Args:
        side: what messages call it.
        name: its folder or hub id.
        has_template: whether its tokenizer came with a chat template, be it the plain one.
        stops: names of the tokens that end its turns.
    """
    if not has_template:
        yield BASE_TEACHER(side=side, stops=" or ".join(map(repr, stops)))
    elif is_called_base(name):
        yield TEACHER_CALLED_BASE(side=side, name=name)


def continues_texts(tokenizer: Any) -> bool:
    """Whether a text is a prompt as good as any: the model has no chat template, or is called a base model.

    Args:
        tokenizer: the model's, with the name that it was read under.
    """
    return not has_own_template(tokenizer) or is_called_base(tokenizer.name_or_path)


def text_findings(rows: Sequence[int]) -> Iterator[Finding]:
    """Prompts that are texts, for a student that was trained on conversations.

    Args:
        rows: their numbers in the data.

    Example:
        >>> [finding] = text_findings([3, 5, 6])
        >>> finding.message[:66]
        'prompt 3 is a text, as 2 others are, which no chat template render'
    """
    if rows:
        others = {1: "", 2: ", as another is"}.get(len(rows), f", as {len(rows) - 1:,} others are")
        yield TEXT_PROMPTS(name=prompt_name(rows[0]), others=others)
