"""The tokenizer as it reads text in the middle of a conversation.

Works on the ``tokenizers`` object inside a fast tokenizer, without importing that library: the object's own
class builds the edited copy.
"""

import copy
import json
from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens.family import steps

# normaliser steps that act on the edges of a text: a response has the conversation around it
_EDGE_STEPS = ("Prepend", "Strip")
_NO_MODEL = {"type": "BPE", "vocab": {}, "merges": []}


def spec_of(tokenizer: Any) -> tuple[Any, dict[str, Any]]:
    """The ``tokenizers.Tokenizer`` inside `tokenizer`, and its specification as a dict.

    `tokenizer` may be a fast Hugging Face tokenizer or a ``tokenizers.Tokenizer``.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise InputError(
            f"{type(tokenizer).__name__} has no fast (tokenizers) backend, so its bytes cannot be verified; load it "
            "with AutoTokenizer and use_fast=True, or convert it to a tokenizer.json."
        )
    return backend, json.loads(backend.to_str())


def mid_text_backend(backend: Any, spec: dict[str, Any]) -> Any:
    """A tokenizer that encodes text as `backend` does in the position where a response stands.

    It adds no special tokens and no dummy prefix, and text that spells a special token stays text, so that a
    response cannot inject control tokens. Ordinary added tokens are kept: they are part of how the model reads.
    They take no white space around them, which would then belong to no token.

    The model with its vocabulary and merges is shared with `backend`, because copying it takes seconds.
    """
    pre_tokenizer = copy.deepcopy(spec["pre_tokenizer"])
    for step in steps(pre_tokenizer):
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "never"
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    kept = [step for step in steps(spec["normalizer"]) if step["type"] not in _EDGE_STEPS]
    edited = {
        **spec,
        "normalizer": {"type": "Sequence", "normalizers": kept} if kept else None,
        "pre_tokenizer": pre_tokenizer,
        "model": _NO_MODEL,
        "added_tokens": [],
        "post_processor": None,
    }
    parts = type(backend).from_str(json.dumps(edited))
    middle = type(backend)(backend.model)
    middle.normalizer, middle.pre_tokenizer = parts.normalizer, parts.pre_tokenizer
    middle.add_tokens([_without_white_space(token) for _, token in sorted(backend.get_added_tokens_decoder().items())])
    assert middle.get_added_tokens_decoder().keys() == backend.get_added_tokens_decoder().keys()
    middle.encode_special_tokens = True
    return middle


def _without_white_space(token: Any) -> Any:
    return type(token)(token.content, single_word=token.single_word, normalized=token.normalized, special=token.special)
