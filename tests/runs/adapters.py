"""Adapters that a run may leave behind, with weights that change what the model predicts."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer


def save_base(student: str, folder: Path, *, tied: bool = False, dtype: torch.dtype = torch.float32) -> str:
    """A copy of a student with its output layer tied to the embeddings or not, in a dtype."""
    model = AutoModelForCausalLM.from_pretrained(student, dtype=dtype)
    if tied:
        model.config.tie_word_embeddings = True
        model.lm_head.weight = model.model.embed_tokens.weight
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(student).save_pretrained(folder)
    return str(folder)


def save_adapter(base: str, folder: Path, more_tokens: int = 0, scale: float = 0.2, **lora: Any) -> Any:
    """An adapter with random weights, beside its tokenizer; the adapted model, in float32."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if more_tokens:
        model.resize_token_embeddings(model.get_input_embeddings().weight.shape[0] + more_tokens, mean_resizing=False)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **{"r": 4, **lora}))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn_like(parameter))
    adapted.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return adapted.eval()


def log_probabilities(model: nn.Module) -> torch.Tensor:
    """Nats of every id after each of some ids: [1, 24, V]."""
    size = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    ids = torch.linspace(0, size - 1, 24).long()[None]
    with torch.no_grad():
        return model(ids).logits.float().log_softmax(-1)
