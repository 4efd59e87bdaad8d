"""Capabilities of a server, as the probe found them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crossdistill.signal import Signal
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.http.errors import shown


@dataclass(frozen=True)
class Capabilities:
    """Capabilities of a server, and the fingerprint by which its model is recognised.

    Attributes:
        dialect: that it understands.
        signal: the most that it can give at a position.
        max_top_k: most probable tokens that it can give at a position; 0 for none.
        max_length: tokens that its context holds; None if it does not say.
        model: its name on the server.
        answers_as: the model's name in answers; None if they carry none.
        lists_models: whether the server lists its models.
        can_next: whether it can be asked for the next token's log-probabilities.
        fingerprint_ids: token ids of a known text.
        fingerprint: nats of all of them but the first, float32 [len(fingerprint_ids) - 1].
        findings: all this in words, one line each.
    """

    dialect: Dialect
    signal: Signal
    max_top_k: int
    max_length: int | None
    model: str
    answers_as: str | None
    lists_models: bool
    can_next: bool
    fingerprint_ids: tuple[int, ...]
    fingerprint: np.ndarray
    findings: tuple[str, ...]


def describe(found: Capabilities, num_texts: int | None, noise_nats: float, num_stops: int) -> Iterator[str]:
    """Write capabilities as lines of the form "subject: finding".

    Args:
        found: the capabilities.
        num_texts: that the server tokenized like the given tokenizer; None if it was recognised by names.
        noise_nats: mean difference between two scores of the same tokens.
        num_stops: stop tokens of the teacher.
    """
    context = "unknown" if found.max_length is None else f"{found.max_length:,} tokens"
    yield f"model: {shown(found.model)}, context: {context}"
    yield f"dialect: {found.dialect}"
    yield f"signal: {f'topk, up to {found.max_top_k} tokens a position' if found.max_top_k else 'sampled'}"
    if num_texts is None:
        yield "tokenizer: the tokens of a known text have the same names"
    else:
        yield f"tokenizer: the same ids for {num_texts} texts"
    yield f"scores: a text and its first half agree within {noise_nats:.2g} nats on average"
    if num_stops > 1:
        how = "one request after the response" if found.can_next else "one request each"
        yield f"stop tokens: {num_stops}; all but the first take {how}"
