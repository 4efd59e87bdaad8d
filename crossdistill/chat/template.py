"""A prompt rendered by a model's own chat template, or by a plain one where the model has none."""

from typing import Any

Prompt = str | list[dict[str, Any]]

PLAIN_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{%- if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}Assistant:\n{% endif -%}"
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
    begins_with_bos = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = ("{{ bos_token }}" if begins_with_bos else "") + PLAIN_TEMPLATE
    return True


def render_prompt(tokenizer: Any, prompt: Prompt, template_kwargs: dict[str, Any] | None = None) -> list[int]:
    """Token ids of a prompt, up to where the response begins.

    Messages go through the tokenizer's own chat template with its generation prompt. A text is tokenised as it
    stands, with the tokenizer's own begin token and without an end token. The response is tokenised apart, so that
    no token crosses the border between them.
    """
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        appended_eos = len(ids) > 0 and ids[-1] == tokenizer.eos_token_id and not prompt.endswith(tokenizer.eos_token)
        return ids[:-1] if appended_eos else ids
    rendered = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **(template_kwargs or {})
    )
    return list(rendered["input_ids"])
