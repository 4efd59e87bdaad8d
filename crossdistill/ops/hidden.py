"""The last hidden states of a causal language model, before its head."""

from typing import Any

from torch import Tensor


def causal_lm(model: Any) -> Any:
    """The Hugging Face model inside a PEFT wrapper, with its adapters in place; any other model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def last_hidden_states(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The last hidden states of a causal language model.

    Args:
        model: a Hugging Face causal language model, or a PEFT model around one.
        input_ids: int64 [B, L], padded on the right, so that positions equal those of the unpadded sequences, also for
            models with absolute position embeddings.
        attention_mask: [B, L], 0 for padding.

    Returns:
        [B, L, H]; the state at position t predicts the token at t + 1.
    """
    backbone = causal_lm(model).base_model
    return backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
