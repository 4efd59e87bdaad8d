"""A prompt rendered by a model's own chat template, or by a plain one where the model has none."""

from typing import Any

from jinja2 import TemplateError

from crossdistill.errors import InputError

_TEXT = "x"  # a text that contains no special token itself

Prompt = str | list[dict[str, Any]]

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


def ensure_template(tokenizer: Any) -> bool:
    """Give a tokenizer without a chat template the plain one; returns whether it was needed."""
    if tokenizer.chat_template is not None:
        return False
    begins_with_bos = tokenizer(_TEXT)["input_ids"][:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = ("{{ bos_token }}" if begins_with_bos else "") + PLAIN_TEMPLATE
    return True


def render_prompt(tokenizer: Any, prompt: Prompt, template_kwargs: dict[str, Any] | None = None) -> list[int]:
    """Token ids of a prompt, up to where the response begins.

    Messages go through the tokenizer's own chat template with its generation prompt. A text is tokenised as it
    stands, with the tokenizer's own begin token and without an end token. The response is tokenised apart, so that
    no token crosses the border between them.

    Raises InputError for a prompt without a single token, and for messages that the chat template refuses.
    """
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        if _appends_eos(tokenizer):
            ids.pop()
    else:
        ids = _apply_template(tokenizer, prompt, template_kwargs or {})
    if not ids:
        raise InputError(
            f"the prompt {prompt!r} has no tokens, so nothing predicts the response's first one: write something in "
            "it, or use a tokenizer that begins every text with a token of its own."
        )
    return ids


def _apply_template(tokenizer: Any, messages: list[dict[str, Any]], template_kwargs: dict[str, Any]) -> list[int]:
    messages = [{**message, "content": _text(message.get("content"))} for message in messages]
    try:
        rendered = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, **template_kwargs
        )
    except TemplateError as error:
        roles = ", ".join(str(message["role"]) for message in messages)
        raise InputError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {roles} ({error}): write "
            "prompts that it takes, or give the tokenizer another chat_template."
        ) from None
    return list(rendered["input_ids"])


def _text(content: Any) -> str | None:
    """A message's text; parts of text are joined, because most templates take a text alone."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def _appends_eos(tokenizer: Any) -> bool:
    return tokenizer(_TEXT)["input_ids"][-1:] == [tokenizer.eos_token_id]
