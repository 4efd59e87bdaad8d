"""The tokens that end a model's turn."""

from collections.abc import Iterable
from typing import Any

from crossdistill.chat.template import REFUSALS
from crossdistill.errors import InputError
from crossdistill.tokens.special_tokens import control_tokens

_MARK = "0123456789"  # an answer that no template rewrites


def stop_ids(tokenizer: Any, declared: int | Iterable[int] | None = None) -> tuple[int, ...]:
    """Every token id that ends a response, in ascending order.

    These are the ids that the model declares (``generation_config.eos_token_id``), the tokenizer's end-of-text token,
    and the special token that the chat template puts right after an assistant's message.

    Args:
        tokenizer: a Hugging Face tokenizer.
        declared: the ids that the model declares.

    Returns:
        The ids, without repetition; empty if there are none.

    Raises:
        InputError: a declared id is not an integer.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> stop_ids(ByT5Tokenizer(extra_ids=0), declared=[7])
        (1, 7)
    """
    ids = {declared} if isinstance(declared, int) else {one for one in declared or () if one is not None}
    if not all(isinstance(token_id, int) for token_id in ids):
        raise InputError(f"the model's generation_config names the stop tokens {declared!r}: they must be token ids.")
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    end_of_turn = _end_of_turn(tokenizer)
    if end_of_turn is not None:
        ids.add(end_of_turn)
    return tuple(sorted(ids))


def adopt_end(tokenizer: Any, declared: Iterable[int] = ()) -> bool:
    """Give a tokenizer without an end-of-text token the one with which its model ends a turn.

    Args:
        tokenizer: a Hugging Face tokenizer.
        declared: the ids that the model declares, the most important one first.

    Returns:
        Whether it has one now.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> tokenizer.eos_token = None
        >>> adopt_end(tokenizer), adopt_end(tokenizer, [1])
        (False, True)
    """
    if tokenizer.eos_token_id is None:
        added = tokenizer.added_tokens_decoder
        end = next((one for one in (*declared, *stop_ids(tokenizer)) if one in added), None)
        if end is not None:
            tokenizer.eos_token = added[end].content
    return tokenizer.eos_token_id is not None


def taught_stop(tokenizer: Any) -> int:
    """The token that teaches the student to end a given text: the end-of-text token, or its lowest other stop token.

    Raises:
        InputError: the tokenizer has no stop token.
    """
    stops = stop_ids(tokenizer)
    if not stops:
        raise InputError(
            "the student's tokenizer has no end-of-text token: set eos_token, so that it can learn to stop."
        )
    return int(stops[0] if tokenizer.eos_token_id is None else tokenizer.eos_token_id)


def token_name(tokenizer: Any, token_id: int) -> str:
    """Name of a token; ``<id N>`` if the model's vocabulary is padded beyond its tokenizer and N is in the padding.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> token_name(ByT5Tokenizer(extra_ids=0), 1)
        '</s>'
    """
    return tokenizer.convert_ids_to_tokens(int(token_id)) or f"<id {token_id}>"


def _end_of_turn(tokenizer: Any) -> int | None:
    """The first special token after an assistant's message, None if the template writes none there."""
    if tokenizer.chat_template is None:
        return None
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    try:
        _, mark, suffix = tokenizer.apply_chat_template(messages, tokenize=False).rpartition(_MARK)
    except REFUSALS:
        return None  # it refuses such a conversation, so the end of a turn is unknown
    if not mark:  # a template for prompts only
        return None
    control = control_tokens(tokenizer)
    special = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.content in control}
    after = tokenizer(suffix, add_special_tokens=False)["input_ids"]
    return next((token_id for token_id in after if token_id in special), None)
