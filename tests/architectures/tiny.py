"""Every causal language model of the installed transformers, tiny, from its configuration class."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

NAMES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
MOST_PARAMETERS = 4_000_000

_WIDTHS = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "emb_dim", "hidden_dim", "lru_width"), 32),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "output_embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "d_inner", "dff", "dim_ff"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 16),
    **dict.fromkeys(("kv_lora_rank", "laurel_rank", "hidden_size_per_layer_input"), 8),
    "q_lora_rank": 16,
}
_DEPTHS = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_layers", "first_k_dense_replace", "n_shared_experts", "n_group", "topk_group"), 1),
}
_HEADS = {
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "d_head", "d_kv", "dim_head", "rotary_dim", "v_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "global_head_dim"), 8),
    "qk_head_dim": 16,
}
_EXPERTS = {
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_k"), 2),
}
_RECURRENCE = {
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "mamba_d_conv", "time_step_rank", "mamba_dt_rank"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim", "mamba_chunk_size", "chunk_size"), 16),
    **dict.fromkeys(("mamba_n_groups", "n_groups", "n_mamba_heads"), 1),
    "mamba_expand": 2,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_LENGTHS = {
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 128),
    **dict.fromkeys(("sliding_window", "attention_window_size"), 32),
}
SIZES = {**_WIDTHS, **_DEPTHS, **_HEADS, **_EXPERTS, **_RECURRENCE, **_LENGTHS, "initializer_range": 0.2}

_MLA = {"num_key_value_heads": 4}  # as many as heads
_BY_LAYER = {"head_dim": ..., "num_key_value_heads": ...}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
OTHER_SIZES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa"), _MLA
    ),
    **dict.fromkeys(("longcat_flash", "minicpm3", "youtu"), _MLA),
    **dict.fromkeys(("granitemoehybrid", "qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text"), _HYBRID),
    **dict.fromkeys(("qwen3_5_text", "qwen4_exp", "qwen4_exp_text", "olmo_hybrid"), _HYBRID),
    "bailing_hybrid": {**_HYBRID, **_MLA, "linear_num_heads": 4, "linear_head_dim": 8, "num_expert_group": 1},
    "bamba": {"attn_layer_indices": [1]},
    "falcon": {"head_dim": ...},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n": {"num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0]},
    "gemma3n_text": {"num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0]},
    **dict.fromkeys(("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"), _BY_LAYER),
    "gpt_neo": {"attention_types": [[["global"], 2]]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], **_MLA},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "minicpm3": {**_MLA, "dim_model_base": 32},
    "prophetnet": {"num_hidden_layers": ..., "num_encoder_layers": 1, "num_decoder_layers": 2},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "roc_bert": {"pronunciation_vocab_size": 8, "shape_vocab_size": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 6, "layer_types": ["mamba", "mamba", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}
"""Of architectures whose sizes depend on each other; ``...`` stands for the default."""


def config_of(name: str, ids: dict[str, int]) -> Any:
    """A tiny configuration.

    Args:
        name: of the architecture.
        ids: vocabulary size and special tokens.
    """
    default = CONFIG_MAPPING[name]().get_text_config()
    sizes = {**SIZES, **ids, **OTHER_SIZES.get(name, {})}
    known = OTHER_SIZES.get(name, {}).keys()
    return type(default)(
        **{key: value for key, value in sizes.items() if value is not ... and (key in known or hasattr(default, key))}
    )


def build(name: str, ids: dict[str, int], seed: int = 0) -> Any:
    """A causal language model with random weights."""
    config = config_of(name, ids)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    assert size < MOST_PARAMETERS, f"{name} has {size:,} parameters: give it its OTHER_SIZES"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config)
