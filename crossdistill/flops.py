"""Floating-point operations of a causal language model, from its weights and its configuration.

A product with N weights takes 2 N operations a token in a forward pass (Kaplan et al. 2020, section 2.1). N counts the
weights that take part in matrix products: the output head, but no embedding, bias or norm, and in a mixture of experts
those of the experts that a token is sent to. The head is counted for every token, those of the prompt as well.

To them comes attention over the context: for each pair of a token and one that it sees, 2 * heads * (width of a query +
width of a value) in each layer. A token sees itself and all before it, in a layer with a sliding window those within
the window, in a chunked one those in its chunk. Heads count, not key-value heads: grouped queries share keys and
values, but each is multiplied with them.

Sampling token by token from a cache multiplies the same numbers as one pass over the finished row does, so it costs the
same; engines that keep latent keys and compute them anew for every token pay more for it, which is not counted. A
backward pass takes each product twice more: for what goes into it, and for its weights, if they are trained.

Not counted: pairs that a kernel computes and masks, padding, the recomputation of gradient checkpointing, which is a
choice about memory and not about a method, and what is not a product (softmax, norms, activations).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

UNKNOWN_SIZE = "its size is not known: its FLOPs are left out"
UNKNOWN_ATTENTION = "its configuration is not known: attention over the context is left out"

_EXPERT = re.compile(r"(^|\.)experts\.")
_NUM_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_EXPERTS_A_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "top_k_experts", "moe_k")
_FULL, _SLIDING, _CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_WITHOUT_ATTENTION = {"conv", "moe", "mlp"}
_WITH_STATE = {"linear_attention", "mamba", "recurrent"}
_BOTH = {"hybrid": _FULL, "hybrid_sliding": _SLIDING}
_OLD_NAMES = {"attention": _FULL}


@dataclass(frozen=True)
class AttentionLayers:
    """Layers whose attention costs the same.

    Attributes:
        num_layers: how many there are.
        flops_per_pair: of one layer, for a token and one that it sees.
        span: tokens that a token sees at most, itself included; None if there is no limit.
        is_chunked: whether the span is a chunk of fixed ends, and not a window that slides.
    """

    num_layers: int
    flops_per_pair: int
    span: int | None = None
    is_chunked: bool = False

    def pairs(self, length: int) -> int:
        """Pairs of a token and one that it sees, in a row of so many tokens.

        Example:
            >>> kinds = [AttentionLayers(1, 1), AttentionLayers(1, 1, 2), AttentionLayers(1, 1, 2, is_chunked=True)]
            >>> [layers.pairs(5) for layers in kinds]
            [15, 9, 7]
        """
        span = length if self.span is None else min(self.span, length)
        if not span:
            return 0
        if self.is_chunked:
            chunks, rest = divmod(length, span)
            return chunks * _triangle(span) + _triangle(rest)
        return _triangle(span) + (length - span) * span


@dataclass(frozen=True)
class ModelFlops:
    """What a model computes for rows of given lengths.

    Attributes:
        params: weights in matrix products, for one token.
        trained: those of them that are trained; None if all are.
        attention: its layers of attention.
        assumptions: what is assumed, or left out because it is not known; in words.

    Example:
        >>> model = ModelFlops(params=1_000, attention=(AttentionLayers(num_layers=2, flops_per_pair=10),))
        >>> model.forward([3]), model.step([3])
        (6120, 18360)
        >>> ModelFlops(params=1_000, trained=10).step([3])
        12060
    """

    params: int
    trained: int | None = None
    attention: tuple[AttentionLayers, ...] = ()
    assumptions: tuple[str, ...] = ()

    @classmethod
    def of_size(cls, params: int) -> "ModelFlops":
        """Of a model of which only the number of weights is known; 0 if that is not known either."""
        return cls(params, assumptions=(UNKNOWN_ATTENTION if params else UNKNOWN_SIZE,))

    @classmethod
    def of(cls, model: Any) -> "ModelFlops":
        """Of a Hugging Face causal language model, perhaps with adapters, on any device ("meta" as well).

        Example:
            >>> import torch
            >>> from transformers import LlamaConfig, LlamaForCausalLM
            >>> with torch.device("meta"):
            ...     model = LlamaForCausalLM(LlamaConfig())
            >>> f"{ModelFlops.of(model).forward([4096]):.3g}"
            '5.85e+13'
        """
        config = model.config.get_text_config()
        share, experts = _active_experts(config)
        weights = [(name, weight) for name, weight in _weights(model)]
        layers, attention = _attention(config)
        has_experts = any(_EXPERT.search(name) for name, _ in weights)
        return cls(
            params=round(sum(_count(name, weight, share) for name, weight in weights)),
            trained=round(sum(_count(name, weight, share) for name, weight in weights if weight.requires_grad)),
            attention=layers,
            assumptions=(*attention, *(experts if has_experts else _unfound(share))),
        )

    def forward(self, lengths: Iterable[int]) -> int:
        """Of a forward pass over rows of so many tokens each, or of sampling them."""
        return sum(2 * self.params * length + self._attend(length) for length in lengths)

    def step(self, lengths: Iterable[int]) -> int:
        """Of a forward and a backward pass."""
        trained = self.params if self.trained is None else self.trained
        per_token = 4 * self.params + 2 * trained
        return sum(per_token * length + 3 * self._attend(length) for length in lengths)

    def _attend(self, length: int) -> int:
        return sum(layers.num_layers * layers.flops_per_pair * layers.pairs(length) for layers in self.attention)


def matmul_parameters(model: Any) -> int:
    """Number of weights that take part in matrix products for one token.

    Args:
        model: a Hugging Face causal language model.

    Example:
        Mixtral-8x7B computes with two of its eight experts:

        >>> import torch
        >>> from transformers import MixtralConfig, MixtralForCausalLM
        >>> with torch.device("meta"):
        ...     model = MixtralForCausalLM(MixtralConfig())
        >>> f"{sum(weight.numel() for weight in model.parameters()):,}", f"{matmul_parameters(model):,}"
        ('46,702,792,704', '12,748,587,008')
    """
    return ModelFlops.of(model).params


def _triangle(length: int) -> int:
    return length * (length + 1) // 2


def _weights(model: Any) -> Iterable[tuple[str, Any]]:
    """The matrices of the text part, and the head's: it may be an embedding as well, which alone takes no product."""
    from torch.nn import Embedding

    text = model.get_decoder() if hasattr(model, "get_decoder") else model
    head = model.get_output_embeddings().weight
    left_out = {id(module.weight) for module in text.modules() if isinstance(module, Embedding)} | {id(head)}
    for name, weight in text.named_parameters():
        if len(_shape(weight)) > 1 and id(weight) not in left_out:
            yield name, weight
    yield "head", head


def _count(name: str, weight: Any, active_share: float) -> float:
    size = prod(_shape(weight))
    return size * active_share if _EXPERT.search(name) else size


def _shape(weight: Any) -> tuple[int, ...]:
    """Also of a weight that ZeRO-3 has partitioned, which is empty, and of one that is quantised, which is packed."""
    quantised = getattr(weight, "quant_state", None)
    return tuple(getattr(weight, "ds_shape", weight.shape) if quantised is None else quantised.shape)


def _active_experts(config: Any) -> tuple[float, tuple[str, ...]]:
    """Share of the experts that a token is sent to, and what is assumed if that is not known."""
    total, active = _first(config, _NUM_EXPERTS), _first(config, _EXPERTS_A_TOKEN)
    if total and active:
        return min(1.0, active / total), ()
    return 1.0, ("how many experts a token is sent to is not known: all are counted",)


def experts_a_token(config: Any) -> int:
    """Experts that compute for a token in each layer; 1 if a model has none.

    Args:
        config: of the text part.

    Example:
        >>> from transformers import LlamaConfig, MixtralConfig
        >>> experts_a_token(LlamaConfig()), experts_a_token(MixtralConfig(num_experts_per_tok=2))
        (1, 2)
    """
    return (_first(config, _NUM_EXPERTS) and _first(config, _EXPERTS_A_TOKEN)) or 1


def _unfound(share: float) -> tuple[str, ...]:
    """What is assumed of a model that has no weights under the usual name of experts."""
    return () if share == 1 else ("which of its weights are experts is not known: all are counted for every token",)


def layer_configs(config: Any) -> list[Any]:
    """The configuration of each layer: the same one, unless layers differ in it, as in Gemma 4.

    Args:
        config: of the text part.

    Example:
        >>> from transformers import LlamaConfig
        >>> config = LlamaConfig(num_hidden_layers=3)
        >>> [layer.head_dim for layer in layer_configs(config)]
        [128, 128, 128]
    """
    count = getattr(config, "num_hidden_layers", None) or 0
    by_layer = getattr(config, "per_layer_config", None)
    return [config] * count if by_layer is None else [by_layer[layer] for layer in range(count)]


def _attention(config: Any) -> tuple[tuple[AttentionLayers, ...], tuple[str, ...]]:
    """Layers of attention, those that cost the same together; and what is assumed of them."""
    layers = layer_configs(config)
    kinds = _layer_types(config, layers)
    alike = Counter(
        _layer(layer, attends_as)
        for layer, kind in zip(layers, kinds, strict=True)
        if (attends_as := _BOTH.get(kind, kind)) not in _WITH_STATE | _WITHOUT_ATTENTION
    )
    assumptions = []
    for kind, count in Counter(kinds).items():
        if kind in _WITH_STATE | set(_BOTH):
            assumptions.append(f"{count} layers of {kind}: their weights are counted, the update of their state is not")
        elif kind not in _WITHOUT_ATTENTION | {_FULL, _SLIDING, _CHUNKED}:
            assumptions.append(f"{count} layers of {kind}: counted as full attention, which is the most they can take")
    return tuple(replace(layer, num_layers=count) for layer, count in alike.items()), tuple(assumptions)


def _layer_types(config: Any, layers: list[Any]) -> list[str]:
    kinds = getattr(config, "layer_types", None)
    if not layers or not getattr(layers[0], "num_attention_heads", None):
        return ["recurrent"] * len(layers)
    if kinds:
        return [_OLD_NAMES.get(kind, kind) for kind in kinds[: len(layers)]]
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return [_SLIDING if slides else _FULL] * len(layers)


def _layer(config: Any, kind: str) -> AttentionLayers:
    span = {_SLIDING: "sliding_window", _CHUNKED: "attention_chunk_size"}.get(kind)
    span = None if span is None else getattr(config, span, None)
    query, value = _head_widths(config, kind)
    return AttentionLayers(1, 2 * config.num_attention_heads * (query + value), span, kind == _CHUNKED)


def _head_widths(config: Any, kind: str) -> tuple[int, int]:
    """Width of a head's queries and of its values; multi-head latent attention compresses neither."""
    if getattr(config, "kv_lora_rank", None):
        return config.qk_nope_head_dim + config.qk_rope_head_dim, config.v_head_dim
    wide = getattr(config, "global_head_dim", None) if kind == _FULL else None  # Gemma 4 of an older transformers
    width = wide or getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return width, width


def _first(config: Any, names: Iterable[str]) -> int | None:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value), None)
