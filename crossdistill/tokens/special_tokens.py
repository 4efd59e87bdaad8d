"""Distinguishes control tokens from added tokens that are words."""

import re
from collections.abc import Collection
from typing import Any

# some tokenizers do not flag roles and ends of turns as special (DeepSeek-V3's <｜User｜>, Phi-3's </s>)
_CONTROL_NAME = re.compile(r"<\|.*\|>|<｜.*｜>|</?s>|<(?:bos|eos|pad|unk)>", re.DOTALL)


def control_tokens(tokenizer: Any, text_tokens: Collection[str] = ()) -> frozenset[str]:
    """Names of a tokenizer's control tokens: added tokens that carry no bytes and that no text can produce.

    These are the tokens that the tokenizer flags as special, those that it declares (begin, end, padding, ...), and
    those with the name of a control token: ``<|...|>``, ``<｜...｜>``, ``<s>`` and the like. Other added tokens are
    words; in most tokenizers ``<think>`` and ``<tool_call>`` are.

    Args:
        tokenizer: a Hugging Face tokenizer or a ``tokenizers.Tokenizer``.
        text_tokens: tokens to treat as words of a response in any case.
    """
    declared = set(getattr(tokenizer, "all_special_tokens", ()))
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    is_library_object = hasattr(backend, "get_added_tokens_decoder")
    added = backend.get_added_tokens_decoder() if is_library_object else tokenizer.added_tokens_decoder
    return frozenset(
        token.content
        for token in added.values()
        if (token.special or token.content in declared or _CONTROL_NAME.fullmatch(token.content))
        and token.content not in text_tokens
    )
