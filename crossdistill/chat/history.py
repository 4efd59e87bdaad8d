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
    is found so; what it writes beside them is not (:mod:`crossdistill.chat.effects`). Raises TemplateRefusalError.
    """
    if isinstance(prompt, str) or not has_answers(prompt):
        return []
    rendered, cursor = render_text(tokenizer, prompt, template_kwargs, tools, add_generation_prompt=True), 0
    changed = []
    for position, message in enumerate(prompt):
        ends = [_end_of(part, rendered, cursor) for part in _parts(message)]
        if message["role"] == "assistant" and None in ends:
            changed.append(position)
        cursor = max([cursor, *(end for end in ends if end is not None)])
    return changed


def _end_of(part: str, rendered: str, start: int) -> int | None:
    found = rendered.find(part, start)
    return None if found < 0 else found + len(part)


def _parts(message: Message) -> Iterator[str]:
    yield text_of(message) or ""
    yield from (str(message[name]) for name in _REASONING_FIELDS if message.get(name))
    for call in message.get("tool_calls") or ():
        yield str(call.get("function", call).get("name", ""))
