"""Special tokens that are words of a response, such as ``<think>`` where a tokenizer has it as a control token."""

import json
from collections.abc import Collection
from typing import Any

from tokenizers import Tokenizer

from crossdistill.chat.stop import stop_ids
from crossdistill.errors import InputError


def with_text_tokens(tokenizer: Any, names: Collection[str]) -> Any:
    """What :class:`crossdistill.tokens.ByteVocab` is made of, so that these special tokens are text of their own name.

    The student's token then carries the bytes of its name, and the teacher's is how it reads those bytes. The
    tokenizer itself is left as it is; it is returned where it has none of them as a special token.

    Raises InputError for a tokenizer that the tokenizers library does not hold.
    """
    wanted = special_tokens(tokenizer) & set(names)
    if not wanted:
        return tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"text_tokens names {', '.join(sorted(wanted))}, and {type(tokenizer).__name__} is no fast tokenizer: use "
            "a fast one, or leave them out."
        )
    spec = json.loads(backend.to_str())
    for token in spec["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in wanted
    return Tokenizer.from_str(json.dumps(spec))


def special_tokens(tokenizer: Any) -> set[str]:
    """The contents of a tokenizer's special tokens."""
    return {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}


def check_text_tokens(names: Collection[str], tokenizers: dict[str, Any]) -> None:
    """Each name must be a special token of one side at least, and none that ends a turn (as far as tokenizers tell).

    tokenizers: by side.
    """
    for name in names:
        sides = [side for side, tokenizer in tokenizers.items() if name in special_tokens(tokenizer)]
        if not sides:
            raise InputError(
                f"text_tokens names {name!r}, which is a special token of neither tokenizer: leave it out."
            )
        for side in sides:
            if tokenizers[side].convert_tokens_to_ids(name) in stop_ids(tokenizers[side]):
                raise InputError(f"text_tokens names {name!r}, with which the {side} ends a turn: leave it out.")
