"""Checks whether a template keeps the earlier answers of a conversation unchanged."""

from collections.abc import Iterator, Sequence
from typing import Any

from crossdistill.chat.messages import Message, Prompt, text_of
from crossdistill.chat.template import render_text

_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


def has_answers(prompt: Prompt) -> bool:
    """Whether a conversation has an answer of the assistant."""
    return not isinstance(prompt, str) and any(message["role"] == "assistant" for message in prompt)


def changed_answers(
    tokenizer: Any,
    prompt: Prompt,
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
) -> list[int]:
    """Positions of the assistant's messages that the template does not show character by character.

    The rendered prompt is searched for each message's text, its reasoning (in the text, or in a field of its own) and
    the names of the tools that it calls, each after the parts of the message before it. This finds templates that strip
    white space or drop reasoning, but not additions (:mod:`crossdistill.chat.effects` does). To find an answer that is
    dropped while a later message says the same, the conversation is rendered once more with a mark at the end of each
    answer and of its reasoning.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: a text, or the messages before the response.
        template_kwargs: keyword arguments of the template.
        tools: as for :func:`crossdistill.chat.render_prompt`.

    Returns:
        Positions in `prompt`, ascending; empty for a text.

    Raises:
        TemplateRefusalError: the template refuses the conversation.
    """
    if isinstance(prompt, str) or not has_answers(prompt):
        return []
    rendered = render_text(tokenizer, prompt, template_kwargs, tools, add_generation_prompt=True)
    marked_prompt = _marked(prompt)
    marked = render_text(tokenizer, marked_prompt, template_kwargs, tools, add_generation_prompt=True)
    lost = {
        position
        for position, message in enumerate(marked_prompt)
        if message["role"] == "assistant" and not all(part in marked for part in _texts(message))
    }
    return sorted(lost | _not_in_order(prompt, rendered))


def _not_in_order(prompt: list[Message], rendered: str) -> set[int]:
    """Positions of the answers with a part that does not come after the parts of the message before it."""
    cursor, missing = 0, set()
    for position, message in enumerate(prompt):
        ends = [_end_of(part, rendered, cursor) for part in (*_texts(message), *_tool_names(message))]
        if message["role"] == "assistant" and None in ends:
            missing.add(position)
        cursor = max([cursor, *(end for end in ends if end is not None)])
    return missing


def _end_of(part: str, rendered: str, start: int) -> int | None:
    found = rendered.find(part, start)
    return None if found < 0 else found + len(part)


def _marked(prompt: list[Message]) -> list[Message]:
    """The conversation with a unique mark after each text and each reasoning of an answer.

    An empty text stays empty: there is nothing to lose, and templates recognise tool calls by it.
    """
    mark = "Qzmark"
    while mark in repr(prompt):
        mark += "q"
    return [
        _with_marks(message, f"{mark}{position}") if message["role"] == "assistant" else message
        for position, message in enumerate(prompt)
    ]


def _with_marks(message: Message, mark: str) -> Message:
    text = text_of(message)
    reasoning = {name: f"{message[name]}{mark}r" for name in _REASONING_FIELDS if message.get(name)}
    return {**message, **reasoning, **({"content": f"{text}{mark}c"} if text else {})}


def _texts(message: Message) -> list[str]:
    """The text of a message, and its reasoning if that is a field of its own."""
    return [text_of(message) or "", *(str(message[name]) for name in _REASONING_FIELDS if message.get(name))]


def _tool_names(message: Message) -> Iterator[str]:
    """The names of the tools that a message calls."""
    for call in message.get("tool_calls") or ():
        yield str(call.get("function", call).get("name", ""))
