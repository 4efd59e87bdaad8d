"""Which added tokens are control tokens, and which are words."""

import re
from collections.abc import Collection
from typing import Any

# roles and ends of turns are not flagged as special in some tokenizers (DeepSeek-V3's <｜User｜>, Phi-3's </s>)
_SPELLED_AS_CONTROL = re.compile(r"<\|.*\|>|<｜.*｜>|</?s>|<(?:bos|eos|pad|unk)>", re.DOTALL)


def control_tokens(tokenizer: Any, text_tokens: Collection[str] = ()) -> frozenset[str]:
    """The added tokens of a tokenizer that carry no bytes, and that no text can write.

    They are those that the tokenizer calls special, those that it declares (begin, end, padding, ...), and those
    spelled as only control tokens are: ``<|...|>``, ``<｜...｜>``, ``<s>`` and the like. Other added tokens are words,
    such as ``<think>`` and ``<tool_call>`` in most.

    Args:
        tokenizer: a Hugging Face tokenizer or a ``tokenizers.Tokenizer``.
        text_tokens: tokens that are words of a response all the same.
    """
    declared = set(getattr(tokenizer, "all_special_tokens", ()))
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    is_library_object = hasattr(backend, "get_added_tokens_decoder")
    added = backend.get_added_tokens_decoder() if is_library_object else tokenizer.added_tokens_decoder
    return frozenset(
        token.content
        for token in added.values()
        if (token.special or token.content in declared or _SPELLED_AS_CONTROL.fullmatch(token.content))
        and token.content not in text_tokens
    )
