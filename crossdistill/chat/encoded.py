"""Conversations that are written as text, which is all that a CSV file can hold: JSON, or Python's ``repr``."""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from crossdistill.findings import Kind, Severity, When

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""Roles of messages in text that is parsed."""

ENCODED_CONVERSATION = Kind(
    "encoded_conversation",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} is a text that begins like a conversation and is not a whole list of messages with known roles, {shown}: "
    "give the messages (in a .jsonl or .parquet file), or all of them as one JSON list, each with 'content' and a "
    f"'role' of {', '.join(ROLES)}.",
    "both models read the code of a conversation as plain text, without any template",
)

_ROLE = rf"""["']role["']\s*:\s*["'](?:{"|".join(ROLES)})["']"""
_BEGINS = re.compile(
    rf"""\s*"?(?:\[\s*)?\{{\s*(?:{_ROLE}|["'](?:messages|prompt|conversations?)["']\s*:\s*\[|["']from["']\s*:\s*["'])"""
    rf"""|\s*"?\[\s*\{{\s*["'](?:role|content)["']\s*:|\s*"?\{{\s*["']content["']\s*:.*{_ROLE}""",
    re.DOTALL,
)
"""The first characters of a conversation as text, whole or not."""
_WRAPPERS = ("messages", "prompt", "conversation", "conversations")


def conversation_in(text: str, name: str = "the prompt") -> list[dict[str, Any]] | None:
    """The messages that a text spells.

    Args:
        text: a prompt.
        name: what messages call it.

    Returns:
        The messages; None if it is an ordinary text. That includes one that quotes a conversation and goes on.

    Raises:
        FindingError: it begins like a conversation, and its meaning is not certain.

    Example:
        >>> conversation_in("[{'role': 'user', 'content': 'Hi!'}]")
        [{'role': 'user', 'content': 'Hi!'}]
        >>> conversation_in("What does [{'role': 'user'}] mean?") is None
        True
    """
    if text.lstrip("\ufeff \t\r\n")[:1] not in {"[", "{", '"'}:
        return None
    text = text.lstrip("\ufeff")
    begins = _BEGINS.match(text.replace('\\"', '"')) is not None
    value = _parsed(text, begins)
    if _is_conversation(value) and all(message["role"] in ROLES for message in value):
        return list(value)
    if _is_like_conversation(value) or (value is None and begins and not _goes_on(text)):
        raise ENCODED_CONVERSATION.error(name=name, shown=repr(text[:60]))
    return None


def _parsed(text: str, begins: bool) -> Any:
    """The value that the text spells, None if it spells none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _literal(text) if begins else None
    return _parsed(value, begins) if isinstance(value, str) else value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _goes_on(text: str) -> bool:
    """Whether other text follows a whole conversation."""
    head, bracket, rest = text.rpartition("]")
    return bool(rest.strip()) and _is_conversation(_parsed(head + bracket, begins=True))


def _is_conversation(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    has_role = isinstance(value, Mapping) and isinstance(value.get("role"), str)
    return has_role and ("content" in value or "tool_calls" in value)


def _is_like_conversation(value: Any) -> bool:
    """Whether a parsed value is a conversation in another form."""
    if isinstance(value, Mapping):
        wrapped = any(_is_like_conversation(value.get(key)) for key in _WRAPPERS)
        return wrapped or (_is_message(value) and value["role"] in ROLES)
    if not isinstance(value, list) or not value:
        return False
    is_sharegpt = all(isinstance(one, Mapping) and {"from", "value"} <= one.keys() for one in value)
    return is_sharegpt or any(map(_is_message, value))
