"""A prompt as both models read it, from a row of any data set: the only place where the raw form is looked at."""

import json
from collections.abc import Mapping
from typing import Any

from crossdistill.chat.encoded import conversation_in
from crossdistill.chat.messages import Prompt, plain_message
from crossdistill.findings import Kind, Severity, When

NOT_A_PROMPT = Kind(
    "not_a_prompt",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} is {shown}: a prompt must be a text or a list of messages, each with a 'role' and a text as its 'content', "
    "and 'tool_calls' that are a list.",
    "there is nothing to read",
)


def as_prompt(value: Any, name: str = "the prompt") -> Prompt:
    """The prompt in a row: a text, or messages without what is empty.

    A conversation that is written as text (JSON, or Python's ``repr``) is parsed; a null or an empty key of a message
    is left out (:func:`crossdistill.chat.messages.plain_message`). The result of this function is unchanged by it.

    Args:
        value: what the row holds.
        name: what messages call it, such as "prompt 7".

    Raises:
        FindingError: it is no prompt.

    Example:
        >>> as_prompt('[{"role": "user", "content": "Hi!", "tool_calls": null}]')
        [{'role': 'user', 'content': 'Hi!'}]
        >>> as_prompt("Once upon a time")
        'Once upon a time'
    """
    if isinstance(value, str):
        found = conversation_in(value, name)
        if found is None:
            return value
        value = found
    messages = [_with_parsed_calls(one) for one in value] if isinstance(value, list | tuple) else []
    if not messages or not all(map(_is_message, messages)):
        raise NOT_A_PROMPT.error(name=name, shown=shortened(repr(value)))
    return [plain_message(message) for message in messages]


def with_prompt(row: Mapping[str, Any], name: str = "the prompt") -> dict[str, Any]:
    """A copy of a row, with its prompt as :func:`as_prompt` reads it."""
    return {**row, "prompt": as_prompt(row["prompt"], name)}


def prompt_name(number: int) -> str:
    """What messages call the prompt of a row.

    Example:
        >>> prompt_name(7)
        'prompt 7'
    """
    return f"prompt {number}"


def shortened(text: str, limit: int = 80) -> str:
    """A text, cut to `limit` characters.

    Example:
        >>> shortened("one two three", 10)
        'one two...'
    """
    return text if len(text) < limit else text[: limit - 3] + "..."


def _with_parsed_calls(message: Any) -> Any:
    """The message with its tool calls as a list, if they are JSON text, as in tables of one type a column."""
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    if not isinstance(calls, str) or not calls:
        return message
    try:
        return {**message, "tool_calls": json.loads(calls)}
    except ValueError:
        return message


def _is_message(message: Any) -> bool:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        return False
    content, calls = message.get("content"), message.get("tool_calls") or []
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        return False
    if isinstance(content, list | tuple):
        return all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content)
    return content is None or isinstance(content, str)
