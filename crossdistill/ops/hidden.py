"""The last hidden states of a causal language model, before its head."""

from typing import Any

from torch import Tensor


def causal_lm(model: Any) -> Any:
    """The Hugging Face model itself, with adapters in place, where `model` is a PEFT wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def last_hidden_states(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """[B, L] token ids, padded on the right -> [B, L, H].

    The state at position t predicts the token at t + 1. Padding on the right keeps positions equal to those of the
    unpadded sequence, also for models with absolute position embeddings.
    """
    backbone = causal_lm(model).base_model
    return backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
