"""Fingerprint of a served model: how it scores a known text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TEXT = "The 3 cats sat; x ≥ 2√2, naïve café — 你好。\n\tdef f(x): return x  # Привет 🤗!"
TOLERANCE_NATS = 0.1
"""Mean absolute difference up to which it is the same model: kernels and batch sizes round differently."""
_MAX_TOKENS = 128


def fingerprint_ids(tokenizer: Any, max_length: int | None) -> tuple[int, ...]:
    """Return token ids of the known text, cut to what a short context holds.

    Args:
        tokenizer: the teacher's.
        max_length: tokens that the server's context holds; None if it is not known.
    """
    most = _MAX_TOKENS if max_length is None else min(_MAX_TOKENS, max(2, max_length // 2))
    return prefix(tokenizer, token_ids(tokenizer, TEXT), most)


def prefix(tokenizer: Any, ids: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most `most` of the ids, cut where their text has just these ids; anywhere if there is no such place."""
    for end in range(min(most, len(ids)), 1, -1):
        if token_ids(tokenizer, tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)) == tuple(ids[:end]):
            return tuple(ids[:end])
    return tuple(ids[:most])


def token_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Tokenize a text without adding tokens that begin or end it."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def difference_nats(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two scores of the same ids, over the rows that both have.

    Example:
        >>> difference_nats(np.array([-1.0, -2.0]), np.array([-1.5, -2.0, -3.0]))
        0.25
    """
    rows = min(len(one), len(other))
    return float(np.abs(one[:rows] - other[:rows]).mean())


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Position of the first difference between two unequal sequences; the shorter one may be a prefix of the other."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((k for k, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
