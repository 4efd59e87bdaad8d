"""The backbone of a causal language model: its last hidden states, before its head."""

from typing import Any

from torch import Tensor

from crossdistill.findings import Kind, Severity, When

NO_STATES = Kind(
    "no_hidden_states",
    Severity.REFUSAL,
    When.LOADING,
    "{model} has no part that gives its last hidden states: this architecture is not supported; use one whose head is "
    "linear with an optional bias, logit scale and soft cap.",
    "there is nothing to compute log-probabilities from",
)


def causal_lm(model: Any) -> Any:
    """The Hugging Face model inside a PEFT wrapper, with its adapters in place; any other model itself.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))
        >>> causal_lm(model) is model
        True
    """
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def backbone_of(model: Any) -> Any:
    """A Hugging Face causal language model without its head; of a multimodal one that has no such part, of its text.

    Args:
        model: without a PEFT wrapper.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))
        >>> backbone_of(model) is model.model
        True
    """
    base = model.get_decoder() if model.base_model is model else model.base_model
    return base if base.get_output_embeddings() is None else getattr(base, "model", base)


def last_hidden_states(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The last hidden states of a causal language model.

    Args:
        model: a Hugging Face causal language model, or a PEFT model around one.
        input_ids: int64 [B, L], padded on the right, so that positions equal those of the unpadded sequences, also for
            models with absolute position embeddings.
        attention_mask: [B, L], 0 for padding.

    Returns:
        [B, L, H]; the state at position t predicts the token at t + 1.

    Raises:
        FindingError: the model has no part that gives them.

    Example:
        >>> import torch
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))
        >>> tuple(last_hidden_states(model, torch.tensor([[1, 2, 3]]), torch.ones(1, 3)).shape)
        (1, 3, 4)
    """
    output = backbone_of(causal_lm(model))(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    if not hasattr(output, "last_hidden_state"):
        raise NO_STATES.error(model=type(causal_lm(model)).__name__)
    return output.last_hidden_state
