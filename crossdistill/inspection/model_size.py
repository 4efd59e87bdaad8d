"""Sizes of a model, of which the memory that it takes is estimated."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from crossdistill.flops import experts_a_token, layer_configs


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a model.

    Attributes:
        params: weights.
        trainable: those that are trained.
        layer: weights of the largest layer.
        around: weights outside of layers: embeddings, last norm, head.
        products: weights in matrix products.
        num_layers, hidden, vocab: of the text part.
        intermediate: numbers of a token in the middle of the widest layer, in all experts that compute for it.
        cached: numbers that generation caches a token.
    """

    params: int
    trainable: int
    layer: int
    around: int
    products: int
    num_layers: int
    hidden: int
    intermediate: int
    vocab: int
    cached: int

    @classmethod
    def of(cls, model: nn.Module) -> "ModelSize":
        """Of a Hugging Face causal language model, perhaps with adapters, on any device ("meta" as well).

        Example:
            >>> import torch
            >>> from transformers import LlamaConfig, LlamaForCausalLM
            >>> with torch.device("meta"):
            ...     model = LlamaForCausalLM(LlamaConfig())
            >>> f"{ModelSize.of(model).params:,}"
            '6,738,415,616'
        """
        whole: Any = model
        config = whole.config.get_text_config()
        num_layers = config.num_hidden_layers
        lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == num_layers]
        layers = [_numel(layer) for layer in (lists[0] if lists else [])]
        params = _numel(model)
        embedding, head = whole.get_input_embeddings().weight, whole.get_output_embeddings().weight
        return cls(
            params=params,
            trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
            layer=max(layers, default=0),
            around=params - sum(layers),
            products=params - (0 if embedding is head else embedding.numel()),
            num_layers=num_layers,
            hidden=config.hidden_size,
            intermediate=max(map(_intermediate, layer_configs(config))),
            vocab=len(head),
            cached=sum(map(_cached, layer_configs(config))),
        )


def _intermediate(config: Any) -> int:
    whole = getattr(config, "intermediate_size", None) or 4 * int(config.hidden_size)
    return max(whole, experts_a_token(config) * (getattr(config, "moe_intermediate_size", None) or whole))


def _cached(config: Any) -> int:
    """Numbers that a layer caches a token."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _numel(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
