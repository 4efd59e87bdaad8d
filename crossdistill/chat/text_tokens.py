"""Special tokens that are words of a response, such as ``<think>`` if it is a control token of the tokenizer."""

from collections.abc import Collection
from typing import Any

from crossdistill.chat.stop import stop_ids
from crossdistill.errors import InputError
from crossdistill.tokens.special_tokens import control_tokens


def check_text_tokens(names: Collection[str], tokenizers: dict[str, Any]) -> None:
    """Check that each name is a special token of at least one side, and that none ends a turn.

    Stop tokens that only the model declares, and not its tokenizer, are not seen here.

    Args:
        names: special tokens to treat as words.
        tokenizers: side ("student", "teacher") -> its tokenizer.

    Raises:
        InputError: a name is a special token of neither side, or ends a turn.
    """
    for name in names:
        sides = [side for side, tokenizer in tokenizers.items() if name in control_tokens(tokenizer)]
        if not sides:
            raise InputError(
                f"text_tokens names {name!r}, which is a special token of neither tokenizer: leave it out."
            )
        for side in sides:
            if tokenizers[side].convert_tokens_to_ids(name) in stop_ids(tokenizers[side]):
                raise InputError(f"text_tokens names {name!r}, which ends a turn of the {side}: leave it out.")
