"""A prompt rendered by a model's own chat template, or by a plain one where the model has none."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from crossdistill.chat.messages import Message, Prompt, fold_system, plain_messages, with_json_arguments
from crossdistill.errors import InputError
from crossdistill.tokens.special_tokens import control_tokens

_TEXT = "x"  # a text that contains no special token itself
_SYSTEM = "0123456789"  # a system message that no template rewrites

# line breaks stand in expressions: the template engine swallows those beside a block
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize ~ ':\\n' ~ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
"""The default for models without a chat template, such as base models:

    User:
    How many ...?

    Assistant:

The response follows on its own line. The model's begin-of-text token is put in front where its tokenizer adds one
to plain text.
"""


# a template's own refusal, and what its expressions can raise
REFUSALS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_RESERVED = {
    "add_generation_prompt", "continue_final_message", "conversation", "max_length", "messages", "padding",
    "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens", "tokenize", "tools",
    "truncation",
}  # fmt: skip


class TemplateRefusalError(InputError):
    """A chat template takes no such conversation."""


def ensure_template(tokenizer: Any) -> bool:
    """Give a tokenizer without a chat template the plain one; returns whether it was needed."""
    if tokenizer.chat_template is not None:
        return False
    begins_with_bos = tokenizer(_TEXT)["input_ids"][:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = ("{{ bos_token }}" if begins_with_bos else "") + PLAIN_TEMPLATE
    return True


def render_prompt(
    tokenizer: Any,
    prompt: Prompt,
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
    has_sampled_text: bool = False,
) -> list[int]:
    """Token ids of a prompt, up to where the response begins.

    Messages go through the tokenizer's own chat template with its generation prompt; where the template takes no
    system message, its text leads the first user message. A text is tokenised as it stands, with the tokenizer's own
    begin token and without an end token. The response is tokenised apart, so that no token crosses the border between
    them.

    Args:
        tools: functions or JSON schemas, which the template shows to the model in its own way.
        has_sampled_text: some of the messages were written by a model: what spells a control token in them stays text.

    Raises InputError for a prompt without a single token, and TemplateRefusalError for messages that the chat template
    refuses.
    """
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        if _appends_eos(tokenizer):
            ids.pop()
    else:
        # only where it matters: the marks that are set for it come between a text and what a template looks for in it
        sanitised = has_sampled_text and _spells_control(tokenizer, prompt)
        options = {"tokenize": True, "return_dict": True, "sanitize_control_tokens": sanitised}
        ids = list(
            _apply(tokenizer, prompt, template_kwargs, tools, add_generation_prompt=True, **options)["input_ids"]
        )
    if not ids:
        raise InputError(
            f"the prompt {prompt!r} has no tokens, so nothing predicts the response's first one: write something in "
            "it, or use a tokenizer that begins every text with a token of its own."
        )
    return ids


def render_text(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
    add_generation_prompt: bool = False,
) -> str:
    """The text of messages as :func:`render_prompt` has them tokenised; raises TemplateRefusalError likewise."""
    options = {"tokenize": False, "add_generation_prompt": add_generation_prompt}
    return str(_apply(tokenizer, messages, template_kwargs, tools, **options))


def check_template_kwargs(template_kwargs: Mapping[str, Any] | None) -> None:
    """Raises InputError for a keyword that decides how a prompt is rendered, and not what the template says."""
    reserved = sorted(_RESERVED & set(template_kwargs or ()))
    if reserved:
        raise InputError(
            f"the keyword arguments of a chat template name {', '.join(reserved)}, which are set here: leave them "
            "out, and give those that the template reads, such as enable_thinking."
        )


def shows_system(
    tokenizer: Any, template_kwargs: dict[str, Any] | None = None, tools: Sequence[Any] | None = None
) -> bool | None:
    """Whether the chat template shows a system message; None where it refuses one, False where it leaves it out."""
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": "?"}]
    try:
        return _SYSTEM in tokenizer.apply_chat_template(
            messages, tokenize=False, tools=list(tools) if tools else None, **(template_kwargs or {})
        )
    except REFUSALS:
        return None


def folds_system(
    tokenizer: Any,
    prompt: Prompt,
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
) -> bool:
    """Whether :func:`render_prompt` writes a system message of `prompt` into its first user message."""
    has_system = not isinstance(prompt, str) and prompt[0]["role"] == "system"
    return has_system and not shows_system(tokenizer, template_kwargs, tools)


def _apply(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None,
    tools: Sequence[Any] | None,
    **options: Any,
) -> Any:
    check_template_kwargs(template_kwargs)
    options = {**options, **(template_kwargs or {}), "tools": list(tools) if tools else None}
    messages = plain_messages(messages)
    if folds_system(tokenizer, messages, template_kwargs, tools):
        messages = fold_system(messages)
    has_calls = any(message.get("tool_calls") for message in messages)
    try:
        return tokenizer.apply_chat_template(messages, **options)
    except REFUSALS as error:
        if not has_calls:
            raise _refusal(tokenizer, messages, error) from None
    try:
        return tokenizer.apply_chat_template(with_json_arguments(messages), **options)
    except REFUSALS as error:
        raise _refusal(tokenizer, messages, error) from None


def _spells_control(tokenizer: Any, messages: Sequence[Message]) -> bool:
    control = control_tokens(tokenizer)
    said = json.dumps([dict(message) for message in messages], ensure_ascii=False, default=str)
    return any(token in said for token in control)


def _refusal(tokenizer: Any, messages: Sequence[Message], error: Exception) -> TemplateRefusalError:
    roles = ", ".join(str(message["role"]) for message in messages)
    return TemplateRefusalError(
        f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {roles} ({error}): write "
        "prompts that it takes, or give the tokenizer another chat_template."
    )


def _appends_eos(tokenizer: Any) -> bool:
    return tokenizer(_TEXT)["input_ids"][-1:] == [tokenizer.eos_token_id]
