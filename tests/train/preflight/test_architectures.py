"""The architectures of transformers, tiny and saved by it: their weights fit, by headers and as they are loaded.

What is here is what can be built from sizes alone. Left out are families whose sizes follow rules of their own
(falcon, nemotron, gemma3n, gemma4, ministral, hunyuan, zamba, mamba2, qwen3_5, xlstm and the like).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from crossdistill.train.loading import load_model
from crossdistill.train.preflight.weights import check_weights

SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embed_dim", "out_hidden_size"), 32),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **{"num_key_value_heads": 2, "num_experts_per_tok": 2, "v_head_dim": 8, "depth": 1, "encoder_layers": 1},
    **{"image_size": 28, "patch_size": 14, "n_group": 1, "topk_group": 1, "state_size": 8},
    **{"vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64},
}
TEXT = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "gemma", "gemma2"),
    *("gemma3_text", "phi", "phi3", "gpt2", "gpt_neox", "gptj", "gpt_bigcode", "gpt_oss", "opt", "bloom", "codegen"),
    *("mpt", "olmo", "olmo2", "olmo3", "olmoe", "cohere", "cohere2", "granite", "granitemoe", "starcoder2", "stablelm"),
    *("deepseek_v2", "deepseek_v3", "glm", "glm4", "glm4_moe", "smollm3", "exaone4", "ernie4_5", "ernie4_5_moe"),
    *("seed_oss", "apertus", "arcee", "helium", "jetmoe", "mamba", "persimmon", "phimoe", "recurrent_gemma"),
    *("minimax", "lfm2", "nanochat", "falcon_mamba", "bitnet"),
)
MULTIMODAL = (
    *("gemma3", "mistral3", "llava", "llava_next", "idefics3", "smolvlm", "paligemma", "internvl", "qwen2_vl"),
    *("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "ovis2", "glm4v", "aya_vision", "cohere2_vision", "lfm2_vl", "llama4"),
)
NAMES = {**MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, **{kind: MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind, "")
                                                 for kind in MULTIMODAL}}  # fmt: skip


def sizes_of(config: PreTrainedConfig) -> dict[str, Any]:
    """The entries of a configuration that are sizes, and those of its parts, made small."""

    def found() -> Iterator[tuple[str, Any]]:
        for name, size in SIZES.items():
            value = getattr(config, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                yield name, size
        for name in config.sub_configs:
            part = getattr(config, name, None)
            if isinstance(part, PreTrainedConfig):
                yield name, {**sizes_of(part), "model_type": part.model_type}

    return dict(found())


def tiny(kind: str) -> Any:
    config = AutoConfig.for_model(kind, **sizes_of(AutoConfig.for_model(kind)))
    with torch.random.fork_rng():
        return getattr(transformers, NAMES[kind])(config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({*TEXT, *MULTIMODAL}))
def test_what_transformers_saves_fits(kind: str, tmp_path: Path) -> None:
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    check_weights("student", str(tmp_path), {})
    loaded = load_model("the student", str(tmp_path), {"dtype": "auto"})
    assert type(loaded) is type(model)
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
