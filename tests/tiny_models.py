"""Tiny random models of the architectures whose heads differ, built in process."""

from collections.abc import Callable
from typing import Any

import torch
import transformers

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,  # so that logits, caps and scales matter
}


def _llama(vocab_size: int) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=vocab_size, **SIZES))


def _tied_qwen(vocab_size: int) -> Any:
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(vocab_size=vocab_size, tie_word_embeddings=True, **SIZES)
    )


def _gemma2(vocab_size: int) -> Any:
    config = transformers.Gemma2Config(
        vocab_size=vocab_size,
        final_logit_softcapping=3.0,
        attn_implementation="eager",
        query_pre_attn_scalar=8,
        **SIZES,
    )
    return transformers.Gemma2ForCausalLM(config)


def _gemma3(vocab_size: int) -> Any:
    config = transformers.Gemma3TextConfig(
        vocab_size=vocab_size, final_logit_softcapping=2.0, sliding_window=8, query_pre_attn_scalar=8, **SIZES
    )
    return transformers.Gemma3ForCausalLM(config)


def _cohere(vocab_size: int) -> Any:
    return transformers.CohereForCausalLM(transformers.CohereConfig(vocab_size=vocab_size, logit_scale=0.25, **SIZES))


def _granite(vocab_size: int) -> Any:
    return transformers.GraniteForCausalLM(
        transformers.GraniteConfig(vocab_size=vocab_size, logits_scaling=4.0, **SIZES)
    )


def _gpt2(vocab_size: int) -> Any:
    config = transformers.GPT2Config(
        vocab_size=vocab_size, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4
    )
    return transformers.GPT2LMHeadModel(config)


def _phi(vocab_size: int) -> Any:
    """A head with a bias."""
    sizes = {**SIZES, "num_key_value_heads": 2}
    model = transformers.PhiForCausalLM(transformers.PhiConfig(vocab_size=vocab_size, **sizes))
    torch.nn.init.normal_(model.lm_head.bias)
    return model


BUILDERS: dict[str, Callable[[int], Any]] = {
    "llama": _llama,
    "tied_qwen": _tied_qwen,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "cohere": _cohere,
    "granite": _granite,
    "gpt2": _gpt2,
    "phi": _phi,
}
NAMES = tuple(BUILDERS)


def build(name: str, vocab_size: int = 40, seed: int = 0) -> Any:
    """A causal language model in float32 and evaluation mode, without special token ids."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BUILDERS[name](vocab_size).eval()
    for config in (model.config, model.generation_config):
        config.eos_token_id = config.bos_token_id = config.pad_token_id = None
    return model
