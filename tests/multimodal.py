"""Tiny multimodal checkpoints with the tokenizers of the tiny pair, as text models of either side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, PreTrainedTokenizerFast

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
Sizes = dict[str, Any]


def _mistral3(text: Sizes) -> Any:
    vision = {"model_type": "pixtral", **VISION}
    config = transformers.Mistral3Config(text_config={"model_type": "mistral", **text}, vision_config=vision)
    return transformers.Mistral3ForConditionalGeneration(config)


def _qwen(text: Sizes) -> Any:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope}, vision_config={**vision, "fullatt_block_indexes": [0]}
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _gemma3(text: Sizes) -> Any:
    vision = {"model_type": "siglip_vision_model", **VISION}
    config = transformers.Gemma3Config(
        text_config={**text, "sliding_window": 8, "query_pre_attn_scalar": 8},
        vision_config=vision,
        mm_tokens_per_image=4,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _llava(text: Sizes) -> Any:
    vision = {"model_type": "clip_vision_model", "projection_dim": 16, **VISION}
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", **text}, vision_config=vision, vision_feature_layer=-1
    )
    return transformers.LlavaForConditionalGeneration(config)


def _llama4(text: Sizes) -> Any:
    experts = {
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "intermediate_size_mlp": 24,
        "attn_temperature_tuning": False,
    }
    vision = {**VISION, "projector_input_dim": 16, "projector_output_dim": 16, "vision_output_dim": 16}
    config = transformers.Llama4Config(text_config={**text, **experts}, vision_config=vision)
    return transformers.Llama4ForConditionalGeneration(config)


BUILDERS: dict[str, Callable[[Sizes], Any]] = {
    "mistral3": _mistral3,
    "qwen2_5_vl": _qwen,
    "gemma3": _gemma3,
    "llava": _llava,
    "llama4": _llama4,
}


def build(name: str, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Any:
    """A multimodal model in float32 with a tokenizer's ids."""
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BUILDERS[name]({**TEXT, **ids, "vocab_size": len(tokenizer) + 4})
    with torch.no_grad():
        model.get_output_embeddings().weight[tokenizer.eos_token_id] *= 3  # so that some responses end
    model.generation_config = GenerationConfig(**ids)
    return model


def save(name: str, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """Save such a model with its tokenizer, and give its folder."""
    build(name, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
