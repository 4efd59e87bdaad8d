"""Whether a template shows the earlier answers of a conversation as they were."""

from collections.abc import Iterator, Sequence
from typing import Any

from crossdistill.chat.messages import Message, Prompt, text_of
from crossdistill.chat.template import render_text

_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


def has_answers(prompt: Prompt) -> bool:
    """Whether a conversation holds an answer of the assistant."""
    return not isinstance(prompt, str) and any(message["role"] == "assistant" for message in prompt)


def changed_answers(
    tokenizer: Any,
    prompt: Prompt,
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
) -> list[int]:
    """Positions of the assistant's messages that the template does not show character by character.

    Looked for are a message's text, its reasoning (in the text, or as a field of its own) and the names of the tools
    that it calls, each after what the message before it said. A template that strips white space or drops reasoning
    is found so; what it writes beside them is not (:mod:`crossdistill.chat.effects`). An answer that is dropped while
    a later message says the same is found by rendering once more, with a mark at the end of each answer and reasoning.
    Raises TemplateRefusalError.
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
    """Positions of the answers of which a part does not follow on what the message before it said."""
    cursor, missing = 0, set()
    for position, message in enumerate(prompt):
        ends = [_end_of(part, rendered, cursor) for part in (*_texts(message), *_called(message))]
        if message["role"] == "assistant" and None in ends:
            missing.add(position)
        cursor = max([cursor, *(end for end in ends if end is not None)])
    return missing


def _end_of(part: str, rendered: str, start: int) -> int | None:
    found = rendered.find(part, start)
    return None if found < 0 else found + len(part)


def _marked(prompt: list[Message]) -> list[Message]:
    """The conversation with a mark after each text and each reasoning of an answer; no two share one.

    An empty one stays as it is: there is nothing to lose, and templates tell calls of tools by it.
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
    """What a message says, and its reasoning where that is a field of its own."""
    return [text_of(message) or "", *(str(message[name]) for name in _REASONING_FIELDS if message.get(name))]


def _called(message: Message) -> Iterator[str]:
    """The names of the tools that it calls."""
    for call in message.get("tool_calls") or ():
        yield str(call.get("function", call).get("name", ""))
