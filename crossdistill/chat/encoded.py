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

_SPEAKERS = frozenset({*ROLES, "human", "gpt", "chatgpt", "ai", "bot", "model", "prompter", "ipython"})
"""Roles of messages in any format."""
_CONTENTS = frozenset({"content", "text", "parts", "value", "tool_calls"})
_BLANK = "\ufeff \t\r\n"
_OPENING, _CLOSING = ("[", "{", "("), ("]", "}", ")")
_STRING = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_PIECE = re.compile(rf"{_STRING}|[\[\](){{}}]", re.DOTALL)
_WORD = re.compile(rf"{_STRING}|([A-Za-z_]\w*)", re.DOTALL)
_DATA_WORDS = frozenset({"", "null", "true", "false", "None", "True", "False", "dtype", "object"})
_BEGINS = re.compile(
    rf"""[\s(\[{{]*\{{\s*["'](?=.*["'](?:{"|".join(_CONTENTS)})["']\s*:)"""
    rf"""(?:.*["'])?(?:role|from)["']\s*:\s*["'](?:{"|".join(_SPEAKERS)})["']""",
    re.DOTALL | re.IGNORECASE,
)
"""The beginning of a conversation that is cut or malformed."""
_MAX_DEPTH = 5


def conversation_in(text: str, name: str = "the prompt") -> list[dict[str, Any]] | None:
    """The messages that a text spells.

    Args:
        text: a prompt.
        name: what messages call it.

    Returns:
        The messages; None if it is an ordinary text. That includes one that quotes a conversation and goes on.

    Raises:
        FindingError: it is or begins like a conversation, and its meaning is not certain.

    Example:
        >>> conversation_in("[{'role': 'user', 'content': 'Hi!'}]")
        [{'role': 'user', 'content': 'Hi!'}]
        >>> conversation_in("What does [{'role': 'user'}] mean?") is None
        True
    """
    body = _unquoted(text.strip(_BLANK)).removeprefix("array")  # of numpy
    if not body.startswith(_OPENING):
        return None
    value = _parsed(body)
    if _is_conversation(value):
        return list(value)
    if _has_turns(value) or (value is None and _is_malformed(body)):
        raise ENCODED_CONVERSATION.error(name=name, shown=repr(text[:60]))
    return None


def _unquoted(text: str) -> str:
    """What a JSON string says, whole or not; any other text as it is."""
    while text.startswith('"'):
        try:
            text = json.loads(text).strip(_BLANK)
        except ValueError:
            text = text[1:].replace('\\"', '"').lstrip(_BLANK)
    return text


def _parsed(text: str) -> Any:
    """The value that the text spells, None if it spells none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _literal(text) if _BEGINS.match(text) else None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _is_malformed(text: str) -> bool:
    """Whether a text that cannot be parsed is all meant to be a conversation: neither code, nor followed by a text."""
    if not _BEGINS.match(text):
        return False
    rest = _rest(text)
    return rest is None or (not rest and _DATA_WORDS.issuperset(_WORD.findall(text)))


def _rest(text: str) -> str | None:
    """What follows the values in brackets at the beginning of a text; None if a bracket stays open."""
    depth = end = 0
    for piece in _PIECE.finditer(text):
        if not depth and (text[end : piece.start()].strip(_BLANK + ",") or piece[0] not in _OPENING):
            break
        depth += (piece[0] in _OPENING) - (piece[0] in _CLOSING)
        end = end if depth else piece.end()
    return None if depth else text[end:].strip(_BLANK + '"')


def _is_conversation(value: Any) -> bool:
    """Whether a value is a whole list of messages of known roles."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("role") in ROLES and ("content" in value or "tool_calls" in value)


def _has_turns(value: Any) -> bool:
    """Whether a value is a turn of a conversation, or holds a list with one."""
    return _is_turn(value) or _lists_turns(value, _MAX_DEPTH)


def _lists_turns(value: Any, depth: int) -> bool:
    if not depth or not isinstance(value, list | tuple | Mapping):
        return False
    entries = list(value.values()) if isinstance(value, Mapping) else value
    is_list = not isinstance(value, Mapping)
    return any((is_list and _is_turn(entry)) or _lists_turns(entry, depth - 1) for entry in entries)


def _is_turn(value: Any) -> bool:
    """Whether a value is a message in any of the usual forms."""
    if not isinstance(value, Mapping):
        return False
    keys = {str(key).lower(): key for key in value}
    speaker = value[keys["role"]] if "role" in keys else value[keys["from"]] if "from" in keys else None
    return isinstance(speaker, str) and speaker.lower() in _SPEAKERS and not _CONTENTS.isdisjoint(keys)
