"""The tokenizer as it reads text in the middle of a conversation.

Works on the ``tokenizers`` object inside a fast tokenizer, without importing that library: the object's own
class builds the edited copy.
"""

import copy
import json
from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens.family import steps


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
    """A copy of `backend` that encodes text in the position where a response stands.

    It adds no special tokens and no dummy prefix, and text that spells a special token stays text, so that a
    response cannot inject control tokens. Ordinary added tokens are kept: they are part of how the model reads.
    """
    spec = copy.deepcopy(spec)
    spec["post_processor"] = spec["truncation"] = spec["padding"] = None
    spec["normalizer"] = _without_prepend(spec["normalizer"])
    for step in steps(spec["pre_tokenizer"]):
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "never"
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    middle = type(backend).from_str(json.dumps(spec))
    middle.encode_special_tokens = True
    return middle


def _without_prepend(normalizer: dict[str, Any] | None) -> dict[str, Any] | None:
    kept = [step for step in steps(normalizer) if step["type"] != "Prepend"]
    return {"type": "Sequence", "normalizers": kept} if kept else None
