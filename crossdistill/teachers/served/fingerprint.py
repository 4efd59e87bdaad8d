"""Known text whose scores tell whether the same model answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TEXT = "The 3 cats sat; x ≥ 2√2, naïve café — 你好。\n\tdef f(x): return x  # Привет 🤗!"
TOLERANCE_NATS = 0.1
"""In the mean over the text: kernels and batches round differently, other weights differ by more."""
_MAX_TOKENS = 128


def reference_ids(tokenizer: Any, max_length: int | None) -> tuple[int, ...]:
    """Of the text, as many as a short context holds."""
    most = _MAX_TOKENS if max_length is None else min(_MAX_TOKENS, max(2, max_length // 2))
    return beginning(tokenizer, token_ids(tokenizer, TEXT), most)


def beginning(tokenizer: Any, ids: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the ids, cut where a text can stand for them; anywhere, where there is no such place."""
    for end in range(min(most, len(ids)), 1, -1):
        if token_ids(tokenizer, tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)) == tuple(ids[:end]):
            return tuple(ids[:end])
    return tuple(ids[:most])


def token_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """As the tokenizer itself reads a text on its own, without tokens that begin or end it."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def difference_nats(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two scores of the same ids; of as many rows as both have."""
    rows = min(len(one), len(other))
    return float(np.abs(one[:rows] - other[:rows]).mean())


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Position of the first id that only one of two unequal sequences has there."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((k for k, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
