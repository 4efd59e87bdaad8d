"""Conversations that a chat template does not render, and ends of conversations that no model can go on from."""

from collections.abc import Sequence
from typing import Any

from crossdistill.chat.messages import Message
from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When

TEMPLATE_REFUSES = Kind(
    "template_refuses",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the chat template of {model!r} refuses a conversation of {roles} ({reason}): write prompts that it accepts, or "
    "give the tokenizer another chat_template.",
    "the model cannot be shown the prompt",
)
CANNOT_CONTINUE = Kind(
    "cannot_continue",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the chat template of {model!r} cannot be continued after the assistant's last message in a conversation of "
    "{roles}, because it does not show that message as it is: end the prompts with a message of the user, or give the "
    "tokenizer another chat_template.",
    "the response would begin in another place than after the message",
)
AWAITS_RESULT = Kind(
    "awaits_result",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the last message of a prompt is the assistant's and calls a tool, whose result nobody has written: add the "
    "tool's message, or leave the call out.",
    "the model would have to write the tool's result",
)
CONTINUED_WITH_TOOLS = Kind(
    "continued_with_tools",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the last message of a prompt is the assistant's, and the run has tools, whose calls cannot be read from the rest "
    "of a message: end the prompts with a message of the user, or give no tools.",
    "a tool call would be read without its beginning",
)


class TemplateRefusalError(InputError):
    """A chat template refuses a conversation."""


def is_continued(messages: Sequence[Message]) -> bool:
    """Whether the response continues the last message, because that is the assistant's.

    Example:
        >>> is_continued([{"role": "user", "content": "One,"}, {"role": "assistant", "content": "two,"}])
        True
    """
    return bool(messages) and messages[-1]["role"] == "assistant"


def check_end(messages: Sequence[Message], tools: Sequence[Any] | None) -> None:
    """Check that a response can follow the messages of a prompt.

    Args:
        messages: in their plain form.
        tools: of the run.

    Raises:
        FindingError: the last message is the assistant's, and calls a tool or comes with tools.
    """
    if not is_continued(messages):
        return
    if messages[-1].get("tool_calls") or messages[-1].get("function_call"):
        raise AWAITS_RESULT.error()
    if tools:
        raise CONTINUED_WITH_TOOLS.error()


def refusal(kind: Kind, tokenizer: Any, messages: Sequence[Message], reason: object = "") -> TemplateRefusalError:
    """The error for messages that a template does not render."""
    roles = ", ".join(str(message["role"]) for message in messages)
    return TemplateRefusalError(kind(model=tokenizer.name_or_path, roles=roles, reason=reason).message)
