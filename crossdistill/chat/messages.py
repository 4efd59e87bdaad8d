"""Messages in the shape that the most templates take, without a change to what they say."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

Message = dict[str, Any]
Prompt = str | list[Message]


def plain_messages(messages: Sequence[Message]) -> list[Message]:
    """Text parts joined, because most templates take a text alone, and tool calls that have names of their own."""
    joined = [{**message, "content": text_of(message)} for message in messages]
    return _with_call_ids(joined) if any(message.get("tool_calls") for message in joined) else joined


def text_of(message: Message) -> str | None:
    """A message's text; its parts joined where it has parts. A tool's result may be a list of anything else."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    return str(content)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The leading system messages written at the head of the first user message, two line breaks between them."""
    first = next((k for k, message in enumerate(messages) if message["role"] != "system"), len(messages))
    system, rest = [text_of(message) or "" for message in messages[:first]], list(messages[first:])
    if not system:
        return rest
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": "\n\n".join([*system, text_of(rest[0]) or ""])}, *rest[1:]]
    return [{"role": "user", "content": "\n\n".join(system)}, *rest]


def with_json_arguments(messages: Sequence[Message]) -> list[Message]:
    """The arguments of tool calls as JSON text, which some templates (DeepSeek-V3) join to other text."""
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
    """Tool calls and their results, in order, under ids where they have none.

    Some templates write the id, and Mistral's takes none but of nine letters and digits.
    """
    numbers, waiting, named = count(), [], []
    for message in messages:
        if message.get("tool_calls"):
            calls = [{"id": f"call{next(numbers):05d}", **call} for call in message["tool_calls"]]
            waiting = [call["id"] for call in calls]
            named.append({**message, "tool_calls": calls})
        elif message["role"] == "tool" and waiting:
            named.append({"tool_call_id": waiting.pop(0), **message})
        else:
            named.append(message)
    return named
