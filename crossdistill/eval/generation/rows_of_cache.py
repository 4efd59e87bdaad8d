"""Rows of a transformers cache: kept, joined and freed of padding, so that a batch can change while it is decoded.

Rows are padded on the left and end at the same position. Keys and values are [rows, heads, length, width]; a layer with
a sliding window keeps the last ones only, which are aligned at their end, too.
"""

from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_ROOM = 64  # tokens


def new_cache(config: Any) -> Any:
    """An empty cache of a model.

    Args:
        config: of the model.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):
    """Keys and values with room after them, which the next ones are written into.

    transformers' own layer concatenates, which copies the whole cache for each token.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rooms: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values, and return all; see ``DynamicLayer.update``."""
        if self.get_seq_length() == 0:
            return super().update(key_states, value_states, *args, **kwargs)
        self.keys, self.values = self._with("keys", key_states), self._with("values", value_states)
        return self.keys, self.values

    def _with(self, name: str, new: Tensor) -> Tensor:
        states, room = getattr(self, name), self._rooms.get(name)
        length = states.shape[-2] + new.shape[-2]
        if room is None or not _is_start(states, room) or room.shape[-2] < length:
            room = self._rooms[name] = pad(states, (0, 0, 0, new.shape[-2] + _ROOM))
        room[:, :, states.shape[-2] : length] = new
        return room[:, :, :length]


def can_change(model: Any) -> bool:
    """Whether the rows of a model's cache can be changed: each of its layers holds keys and values, or nothing.

    It is not so for models with a recurrent state, such as Mamba and hybrids of it.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
    """
    if "past_key_values" not in arguments_of(model) or not model._supports_default_dynamic_cache():
        return False
    layers = new_cache(model.config).layers
    return all(type(layer) in (RoomyLayer, DynamicSlidingWindowLayer) for layer in layers if _may_hold(layer))


def arguments_of(model: Any) -> set[str]:
    """Names of the arguments that a model's forward pass takes.

    Args:
        model: a Hugging Face model, perhaps with adapters, which take any argument.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(signature(base.forward).parameters)


def keep(cache: Any, rows: Tensor) -> None:
    """Keep some rows, in the given order; a row may be named several times.

    Args:
        cache: to change.
        rows: int64 [kept].
    """
    cache.reorder_cache(rows)


def join(cache: Any, other: Any) -> None:
    """Append the rows of another cache of the same model.

    Args:
        cache: to change.
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
        cache: to change.
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
    return (layer for layer in cache.layers if _may_hold(layer) and layer.is_initialized)


def _may_hold(layer: Any) -> bool:
    """Whether a layer has a content of its own, and not that of another one."""
    return type(layer).__name__ != "DummyLayer"


def _is_start(states: Tensor, room: Tensor) -> bool:
    """Whether states are the first ones of a room, and not a copy or a part of them."""
    return states.data_ptr() == room.data_ptr() and states.stride() == room.stride() and len(states) == len(room)


def _padded(states: Tensor, length: int) -> Tensor:
    return pad(states, (0, 0, length - states.shape[-2], 0))
