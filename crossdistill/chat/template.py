"""Renders prompts with a model's own chat template, or with a plain one if the model has none."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from crossdistill.chat import control_names
from crossdistill.chat.messages import Message, Prompt, fold_system, plain_messages, with_json_arguments
from crossdistill.chat.prompts import as_prompt
from crossdistill.chat.refusal import (
    CANNOT_CONTINUE,
    TEMPLATE_REFUSES,
    check_end,
    is_continued,
    refusal,
)
from crossdistill.errors import InputError
from crossdistill.tokens.special_tokens import control_tokens

_TEXT = "x"  # a text that contains no special token itself
_SYSTEM = "0123456789"  # a system message that no template rewrites

# line breaks are in expressions, because the template engine removes those next to a block
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

The response follows on its own line. The text begins with the model's begin-of-text token if its tokenizer adds one to
plain text.
"""


# a template's own refusal, and the errors that its expressions can raise
REFUSALS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_RESERVED = {
    "add_generation_prompt", "continue_final_message", "conversation", "max_length", "messages", "padding",
    "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens", "tokenize", "tools",
    "truncation",
}  # fmt: skip


def ensure_template(tokenizer: Any) -> bool:
    """Give a tokenizer the plain chat template (:data:`PLAIN_TEMPLATE`) if it has none.

    Returns:
        Whether the plain template was needed.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> ensure_template(tokenizer), ensure_template(tokenizer)
        (True, False)
    """
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
    """Token ids of a prompt, up to the start of the response.

    Messages go through the tokenizer's own chat template with its generation prompt, or up to the end of the last
    message if that is the assistant's, which the response then continues. If the template accepts no system message,
    its text is put before the first user message. A text is tokenised as it is, with one begin-of-text token if the
    tokenizer adds one, and without an end-of-text token. The response is tokenised separately, so no token crosses the
    border between prompt and response.

    Args:
        tokenizer: a Hugging Face tokenizer; with a chat template, if the prompt has messages.
        prompt: a text, or the messages before the response, in any form that :func:`as_prompt` reads.
        template_kwargs: keyword arguments of the template, such as ``enable_thinking``.
        tools: functions or JSON schemas, which the template shows to the model in its own way.
        has_sampled_text: whether a model wrote some of the messages: names of control tokens in them stay text.

    Returns:
        At least one token id.

    Raises:
        InputError: the prompt has no tokens, or `template_kwargs` has a reserved name.
        FindingError: the last message is the assistant's and cannot be continued.
        TemplateRefusalError: the chat template refuses the messages.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> ensure_template(tokenizer)
        True
        >>> ids = render_prompt(tokenizer, [{"role": "user", "content": "Hi!"}])
        >>> tokenizer.decode(ids)
        'User:\\nHi!\\n\\nAssistant:\\n'
    """
    prompt = as_prompt(prompt) if isinstance(prompt, str) else plain_messages(prompt)
    if isinstance(prompt, str):
        ids = _text_ids(tokenizer, prompt)
    else:
        check_end(prompt, tools)
        # only if needed: it sets marks in the text, which hide what some templates search for
        keeps_names = has_sampled_text and _names_control(tokenizer, prompt)
        ids = _rendered_ids(tokenizer, prompt, template_kwargs, tools, keeps_names)
    if not ids:
        raise InputError(
            f"the prompt {prompt!r} has no tokens, so nothing predicts the first token of the response: write "
            "something in it, or use a tokenizer that adds a begin-of-text token."
        )
    return ids


def render_text(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
    add_generation_prompt: bool = False,
) -> str:
    """The text of messages, as :func:`render_prompt` tokenises it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: the conversation.
        template_kwargs: keyword arguments of the template.
        tools: as for :func:`render_prompt`.
        add_generation_prompt: whether to end where a response begins: with the header of the assistant's next message,
            or with the last message itself if that is the assistant's.

    Raises:
        InputError: `template_kwargs` has a reserved name.
        TemplateRefusalError: the chat template refuses the messages.
    """
    plain = plain_messages(messages)
    options = _opening(plain) if add_generation_prompt else {"add_generation_prompt": False}
    return str(_apply(tokenizer, plain, template_kwargs, tools, tokenize=False, **options))


def render_conversation(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
    marks_answers: bool = False,
) -> tuple[list[int], list[bool]]:
    """Token ids of a whole conversation, and which of them the assistant says.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: the conversation.
        template_kwargs: keyword arguments of the template.
        tools: as for :func:`render_prompt`.
        marks_answers: whether the template marks what the assistant says (``{% generation %}``); else all is.

    Raises:
        InputError: `template_kwargs` has a reserved name.
        TemplateRefusalError: the chat template refuses the messages.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> ensure_template(tokenizer)
        True
        >>> ids, is_said = render_conversation(tokenizer, [{"role": "assistant", "content": "Hi!"}])
        >>> tokenizer.decode(ids), all(is_said)
        ('Assistant:\\nHi!</s>', True)
    """
    options = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": marks_answers}
    encoded = _apply(tokenizer, plain_messages(messages), template_kwargs, tools, **options)
    ids = list(encoded["input_ids"])
    return ids, [bool(said) for said in encoded["assistant_masks"]] if marks_answers else [True] * len(ids)


def check_template_kwargs(template_kwargs: Mapping[str, Any] | None) -> None:
    """Check that keyword arguments are the template's own and do not decide how it is applied.

    Raises:
        InputError: a name is reserved, such as ``tokenize``.
    """
    reserved = sorted(_RESERVED & set(template_kwargs or ()))
    if reserved:
        raise InputError(
            f"the keyword arguments of a chat template name {', '.join(reserved)}, which crossdistill sets: leave them "
            "out, and pass only those that the template reads, such as enable_thinking."
        )


def shows_system(
    tokenizer: Any, template_kwargs: dict[str, Any] | None = None, tools: Sequence[Any] | None = None
) -> bool | None:
    """Whether the chat template shows a system message; None if it refuses one, False if it leaves it out."""
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
    """Whether :func:`render_prompt` moves the system message of `prompt` into the first user message."""
    has_system = not isinstance(prompt, str) and prompt[0]["role"] == "system"
    return has_system and not shows_system(tokenizer, template_kwargs, tools)


def _rendered_ids(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None,
    tools: Sequence[Any] | None,
    keeps_names: bool,
) -> list[int]:
    """keeps_names: names of control tokens in the messages stay text."""
    opening = _opening(messages)
    if keeps_names and not control_names.are_kept_by(tokenizer):
        marked, tools = control_names.marked(tokenizer, [list(messages), tools])
        text = _apply(tokenizer, marked, template_kwargs, tools, tokenize=False, **opening)
        try:
            return control_names.encode(tokenizer, text)
        except ValueError as error:
            raise refusal(TEMPLATE_REFUSES, tokenizer, messages, error) from None
    options = {"tokenize": True, "return_dict": True, **({"sanitize_control_tokens": True} if keeps_names else {})}
    return list(_apply(tokenizer, messages, template_kwargs, tools, **opening, **options)["input_ids"])


def _opening(messages: Sequence[Message]) -> dict[str, bool]:
    """The options with which a template ends where the response begins."""
    return {"continue_final_message": True} if is_continued(messages) else {"add_generation_prompt": True}


def _apply(
    tokenizer: Any,
    messages: Sequence[Message],
    template_kwargs: dict[str, Any] | None,
    tools: Sequence[Any] | None,
    **options: Any,
) -> Any:
    """The template's rendering of plain messages."""
    check_template_kwargs(template_kwargs)
    options = {**options, **(template_kwargs or {}), "tools": list(tools) if tools else None}
    if folds_system(tokenizer, list(messages), template_kwargs, tools):
        messages = fold_system(messages)
    has_calls = any(message.get("tool_calls") for message in messages)
    forms = [messages, with_json_arguments(messages)] if has_calls else [messages]
    for form in forms:
        try:
            return tokenizer.apply_chat_template(form, **options)
        except REFUSALS as error:
            last = error
    if options.pop("continue_final_message", False) and _is_rendered(tokenizer, forms[-1], options):
        raise refusal(CANNOT_CONTINUE, tokenizer, messages)
    raise refusal(TEMPLATE_REFUSES, tokenizer, messages, last)


def _is_rendered(tokenizer: Any, messages: Sequence[Message], options: Mapping[str, Any]) -> bool:
    try:
        tokenizer.apply_chat_template(messages, **options)
    except REFUSALS:
        return False
    return True


def _names_control(tokenizer: Any, messages: Sequence[Message]) -> bool:
    """Whether the messages contain the name of a control token."""
    control = control_tokens(tokenizer)
    text = json.dumps([dict(message) for message in messages], ensure_ascii=False, default=str)
    return any(token in text for token in control)


def _text_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text with one begin token if the tokenizer adds one, also if the text spells it, and no end token."""
    ids, around = list(tokenizer(text)["input_ids"]), tokenizer(_TEXT)["input_ids"]
    if around[-1] == tokenizer.eos_token_id:
        ids.pop()
    if around[0] == tokenizer.bos_token_id:
        while ids[1:2] == ids[:1] == around[:1]:
            ids.pop(0)
    return ids
