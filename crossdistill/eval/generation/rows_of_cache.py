"""Rows of a transformers cache: kept, joined and freed of padding, so that a batch can change while it is decoded.

Rows are padded on the left and end at the same position. Keys and values are [rows, heads, length, width]; a layer with
a sliding window keeps the last ones only, which are aligned at their end, too.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def can_change(cache: Any) -> bool:
    """Whether rows can be joined to a cache: each of its layers holds keys and values, or nothing.

    Args:
        cache: a ``DynamicCache`` that a model has filled.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in _filled(cache))


def keep(cache: Any, rows: Tensor) -> None:
    """Keep some rows, in the given order; a row may be named several times.

    Args:
        cache: to change.
        rows: int64 [kept].
    """
    cache.batch_select_indices(rows)


def join(cache: Any, other: Any) -> None:
    """Append the rows of another cache of the same model.

    Args:
        cache: to change; :func:`can_change`.
        other: whose length may differ.
    """
    for ours, theirs in zip(_filled(cache), _filled(other), strict=True):
        length = max(ours.keys.shape[-2], theirs.keys.shape[-2])
        for name in ("keys", "values"):
            parts = [_padded(getattr(layer, name), length) for layer in (ours, theirs)]
            setattr(ours, name, torch.cat(parts))
        if ours.is_sliding:
            ours.cumulative_length = max(ours.cumulative_length, theirs.cumulative_length)


def cut(cache: Any, num_padding: int) -> None:
    """Take away positions at the start, at which every row has padding.

    Args:
        cache: to change; :func:`can_change`.
        num_padding: number of positions.
    """
    for layer in _filled(cache):
        length = layer.keys.shape[-2] - num_padding
        if layer.is_sliding:
            layer.cumulative_length -= num_padding
            length = min(layer.keys.shape[-2], layer.cumulative_length)
        layer.keys, layer.values = layer.keys[:, :, -length:], layer.values[:, :, -length:]


def _filled(cache: Any) -> Iterator[Any]:
    """The layers with content; those that share another one's have none."""
    return (layer for layer in cache.layers if getattr(layer, "is_initialized", True))


def _padded(states: Tensor, length: int) -> Tensor:
    return pad(states, (0, 0, length - states.shape[-2], 0))
