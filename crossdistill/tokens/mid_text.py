"""A copy of a fast tokenizer that tokenises text as in the middle of a conversation.

Works on the ``tokenizers`` object inside a fast tokenizer without importing that library: the object's own class
builds the edited copy.
"""

import copy
import json
from typing import Any

from crossdistill.tokens.families.family import steps

# normaliser steps that act on the edges of a text; a response is surrounded by the conversation
_EDGE_STEPS = ("Prepend", "Strip")


def mid_text_backend(backend: Any, outline: dict[str, Any], control: frozenset[str]) -> Any:
    """A tokenizer that encodes text as `backend` does at the position of a response.

    It adds no special tokens and no dummy prefix, and the name of a control token in a text stays text, so that a
    response cannot inject one. Ordinary added tokens are kept, because the model was trained with them, but they no
    longer absorb the white space around them, which would then belong to no token.

    The model, with its vocabulary and merges, is shared with `backend`, because copying it takes seconds. It is copied
    only to turn off BPE dropout, which would make tokenisation random.

    Args:
        backend: a ``tokenizers.Tokenizer``.
        outline: its specification (:func:`crossdistill.tokens.backends.huggingface.outline`).
        control: names of its control tokens.
    """
    pre_tokenizer = copy.deepcopy(outline["pre_tokenizer"])
    for step in steps(pre_tokenizer):
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "never"
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    kept = [step for step in steps(outline["normalizer"]) if step["type"] not in _EDGE_STEPS]
    pre_steps = list(steps(pre_tokenizer))
    if {"WhitespaceSplit", "Metaspace"} <= {step["type"] for step in pre_steps}:
        # together they drop the white space and put a space before each word, so before the first one too
        pre_steps = [step for step in pre_steps if step["type"] != "WhitespaceSplit"]
        pre_tokenizer = {"type": "Sequence", "pretokenizers": pre_steps}
        kept.append({"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "})
    edited = {
        **outline,
        "normalizer": {"type": "Sequence", "normalizers": kept} if kept else None,
        "pre_tokenizer": pre_tokenizer,
        "added_tokens": [],
        "post_processor": None,
    }
    parts = type(backend).from_str(json.dumps(edited))
    middle = type(backend)(_without_dropout(backend.model))
    middle.normalizer, middle.pre_tokenizer = parts.normalizer, parts.pre_tokenizer
    added = sorted(backend.get_added_tokens_decoder().items())
    middle.add_tokens([_without_white_space(token, token.content in control) for _, token in added])
    assert all(middle.token_to_id(token.content) == token_id for token_id, token in added)
    middle.encode_special_tokens = True
    return middle


def without_normalizer(middle: Any) -> Any:
    """The same tokenizer, for text that is already normalised."""
    plain = type(middle)(middle.model)
    plain.pre_tokenizer = middle.pre_tokenizer
    plain.add_tokens([token for _, token in sorted(middle.get_added_tokens_decoder().items())])
    plain.encode_special_tokens = True
    return plain


def _without_dropout(model: Any) -> Any:
    if not getattr(model, "dropout", None):
        return model
    model = copy.deepcopy(model)
    model.dropout = None
    return model


def _without_white_space(token: Any, special: bool) -> Any:
    if not (token.lstrip or token.rstrip) and token.special == special:
        return token
    return type(token)(token.content, single_word=token.single_word, normalized=token.normalized, special=special)
