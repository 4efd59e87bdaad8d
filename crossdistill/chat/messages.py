"""Messages in the form that most templates accept, with unchanged content."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

Message = dict[str, Any]
"""``role``, ``content`` and the like, as chat templates take them."""

Prompt = str | list[Message]
"""A text, or the messages before a response."""


def plain_messages(messages: Sequence[Message]) -> list[Message]:
    """Messages in their plain form (:func:`plain_message`), with ids for tool calls."""
    plain = [plain_message(message) for message in messages]
    return _with_call_ids(plain) if any(message.get("tool_calls") for message in plain) else plain


def plain_message(message: Mapping[str, Any]) -> Message:
    """A message without what is empty: templates take the presence of a key for its use.

    Its text parts are joined, because most templates accept only text; no content is the empty text. The arguments of a
    tool call are an object, as templates take them, also if they are JSON text, as OpenAI's API writes them. A null in
    them is left out: Arrow gives each call the arguments of all others as nulls.
    """
    kept = {key: value for key, value in message.items() if key == "content" or not _is_empty(value)}
    plain = {**{key: without_nulls(value) for key, value in kept.items()}, "content": text_of(message) or ""}
    if "tool_calls" in plain:
        plain["tool_calls"] = [_with_arguments(call) for call in plain["tool_calls"]]
    return plain


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Sequence | Mapping) and not value)


def without_nulls(value: Any) -> Any:
    """A value without the nulls in its objects, with which Arrow fills up what a row lacks.

    Example:
        >>> without_nulls({"name": "f", "parameters": [{"type": "integer", "enum": None}]})
        {'name': 'f', 'parameters': [{'type': 'integer'}]}
    """
    if isinstance(value, Mapping):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(entry) for entry in value] if isinstance(value, list | tuple) else value


def _with_arguments(call: Message) -> Message:
    """A call with its arguments as an object; text that spells none stays as it is."""
    function = call.get("function", call)
    if not isinstance(function, Mapping):
        return call
    named = {**function, "arguments": _object(function.get("arguments", ""))}
    return {**call, "function": named} if "function" in call else named


def _object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return arguments
    return without_nulls(value) if isinstance(value, Mapping) else arguments


def text_of(message: Mapping[str, Any]) -> str | None:
    """The text of a message, with its parts joined if it has parts; any other list (a tool's result) as ``str``."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    return str(content)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Move leading system messages to the start of the first user message, separated by two line breaks."""
    first = next((k for k, message in enumerate(messages) if message["role"] != "system"), len(messages))
    texts, rest = [text_of(message) for message in messages[:first]], list(messages[first:])
    system = [text for text in texts if text]  # an empty one says nothing
    if not system:
        return rest
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": "\n\n".join([*system, text_of(rest[0]) or ""])}, *rest[1:]]
    return [{"role": "user", "content": "\n\n".join(system)}, *rest]


def with_json_arguments(messages: Sequence[Message]) -> list[Message]:
    """Messages with the arguments of tool calls as JSON text, which some templates need (DeepSeek-V3)."""
    return [
        {**message, "tool_calls": [_json_call(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _json_call(call: Message) -> Message:
    function = call.get("function")
    if not isinstance(function, Mapping) or isinstance(function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": json.dumps(function.get("arguments"), ensure_ascii=False)}}


def _with_call_ids(messages: Sequence[Message]) -> list[Message]:
    """Messages with ids for tool calls that have none, and for their results, in order.

    Some templates show the id, and Mistral's accepts only nine letters and digits.
    """
    numbers, pending, named = count(), [], []
    for message in messages:
        if message.get("tool_calls"):
            calls = [{"id": f"call{next(numbers):05d}", **call} for call in message["tool_calls"]]
            pending = [call["id"] for call in calls]
            named.append({**message, "tool_calls": calls})
        elif message["role"] == "tool" and pending:
            named.append({"tool_call_id": pending.pop(0), **message})
        else:
            named.append(message)
    return named
