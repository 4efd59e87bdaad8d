"""Special tokens that are words of a response, such as ``<think>`` where a tokenizer has it as a control token."""

from collections.abc import Collection
from typing import Any

from crossdistill.chat.stop import stop_ids
from crossdistill.errors import InputError
from crossdistill.tokens.special_tokens import control_tokens


def check_text_tokens(names: Collection[str], tokenizers: dict[str, Any]) -> None:
    """Each name must be a special token of one side at least, and none that ends a turn (as far as tokenizers tell).

    tokenizers: by side.
    """
    for name in names:
        sides = [side for side, tokenizer in tokenizers.items() if name in control_tokens(tokenizer)]
        if not sides:
            raise InputError(
                f"text_tokens names {name!r}, which is a special token of neither tokenizer: leave it out."
            )
        for side in sides:
            if tokenizers[side].convert_tokens_to_ids(name) in stop_ids(tokenizers[side]):
                raise InputError(f"text_tokens names {name!r}, with which the {side} ends a turn: leave it out.")
