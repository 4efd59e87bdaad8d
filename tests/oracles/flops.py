"""Pairs that attention computes, counted one by one; and torch's own count of what a model computes."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def pairs(length: int, span: int | None, is_chunked: bool) -> int:
    """Count each token and each one that it sees: itself and those before it, within its window or its chunk."""

    def sees(query: int, key: int) -> bool:
        if key > query:
            return False
        if span is None:
            return True
        return query // span == key // span if is_chunked else query - key < span

    return sum(sees(query, key) for query in range(length) for key in range(length))


def one_pass(model: Any, ids: torch.Tensor, backward: bool) -> int:
    """Torch's count of a pass over a whole row; it computes the pairs that are masked as well."""
    with FlopCounterMode(display=False) as counter:
        loss = model(ids, use_cache=False).logits.sum()
        if backward:
            loss.backward()
    return counter.get_total_flops()


def token_by_token(model: Any, ids: torch.Tensor, backward: bool) -> int:
    """Torch's count of passes over one token each, after those in the cache: no pair is masked."""
    with FlopCounterMode(display=False) as counter:
        cache, loss = None, torch.zeros(())
        for position in range(ids.shape[1]):
            output = model(ids[:, position : position + 1], past_key_values=cache, use_cache=True)
            cache, loss = output.past_key_values, loss + output.logits.sum()
        if backward:
            loss.backward()
    return counter.get_total_flops()
