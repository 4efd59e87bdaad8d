"""Counts of FLOPs, against torch's counter and by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from crossdistill.flops import UNKNOWN_ATTENTION, UNKNOWN_SIZE, AttentionLayers, ModelFlops, matmul_parameters
from tests.oracles import flops as oracle

LENGTH, WINDOW = 48, 16
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "attn_implementation": "eager",
}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_nope_head_dim": 12, "qk_rope_head_dim": 4, "v_head_dim": 6}
EXPERTS = {"num_experts_per_tok": 2, "experts_implementation": "eager"}


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2))


def gemma() -> Any:
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    own = {"head_dim": 12, "num_key_value_heads": 1, "sliding_window": WINDOW, "layer_types": kinds}
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **own))


def mixtral() -> Any:
    return MixtralForCausalLM(MixtralConfig(**SIZES, **EXPERTS, num_key_value_heads=2, num_local_experts=4))


def deepseek() -> Any:
    own = {
        "n_routed_experts": 8,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
    }
    return DeepseekV3ForCausalLM(DeepseekV3Config(**SIZES, **EXPERTS, **LATENT, **own, num_key_value_heads=4))


MODELS = {"grouped queries": llama, "sliding windows": gemma, "experts": mixtral, "latent attention": deepseek}


def masked(model: ModelFlops, length: int) -> int:
    """What a pass over a whole row computes and masks."""
    return sum(
        layers.num_layers * layers.flops_per_pair * (length**2 - layers.pairs(length)) for layers in model.attention
    )


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return MODELS[request.param]()


@pytest.mark.parametrize("backward", [False, True])
def test_a_pass_is_what_torch_counts(model: Any, backward: bool) -> None:
    counted, ids = ModelFlops.of(model), torch.arange(LENGTH)[None]
    ours = counted.step([LENGTH]) if backward else counted.forward([LENGTH])
    ours += (3 if backward else 1) * masked(counted, LENGTH)
    assert ours == pytest.approx(oracle.one_pass(model, ids, backward), rel=0.02)


@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")  # from transformers 5.24 on
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["grouped queries", "sliding windows"])
def test_causal_attention_is_what_torch_counts_token_by_token(name: str, backward: bool) -> None:
    model = MODELS[name]()
    counted, ids = ModelFlops.of(model), torch.arange(LENGTH)[None]
    ours = counted.step([LENGTH]) if backward else counted.forward([LENGTH])
    theirs = oracle.token_by_token(model, ids, backward)
    assert ours == pytest.approx(theirs, rel=0.02)
    without = ModelFlops(counted.params)
    assert (without.step if backward else without.forward)([LENGTH]) < 0.95 * theirs  # the test sees attention


@given(st.integers(0, 40), st.none() | st.integers(1, 45), st.booleans())
def test_pairs_are_those_counted_one_by_one(length: int, span: int | None, is_chunked: bool) -> None:
    assert AttentionLayers(1, 1, span, is_chunked).pairs(length) == oracle.pairs(length, span, is_chunked)


def test_a_frozen_model_pays_for_no_gradient_of_its_weights() -> None:
    model = llama()
    for weight in model.parameters():
        weight.requires_grad = False
    model.model.layers[2].mlp.down_proj.weight.requires_grad = True
    counted = ModelFlops.of(model)
    assert counted.trained == 32 * 48
    assert counted.step([1]) - 3 * counted.forward([1]) == 2 * (counted.trained - counted.params)


def test_weights_by_hand() -> None:
    attention, mlp, head = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 48, 64 * 32
    assert matmul_parameters(llama()) == 3 * (attention + mlp) + head
    experts = 3 * (attention + 32 * 4 + 2 * mlp) + head  # the router, and two of four experts
    assert matmul_parameters(mixtral()) == experts
    positions = GPT2Config(vocab_size=64, n_positions=128, n_embd=32, n_layer=3, n_head=4)  # a tied head counts once
    assert matmul_parameters(GPT2LMHeadModel(positions)) == 3 * (4 * 32 * 32 + 8 * 32 * 32) + head


def test_state_space_layers_are_said_and_not_guessed() -> None:
    counted = ModelFlops.of(MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=3)))
    assert counted.attention == ()
    assert counted.assumptions == (
        "3 layers of recurrent: their weights are counted, the update of their state is not",
    )
    assert counted.params > 0


def config(**fields: Any) -> Any:
    own = {"num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 32, **fields}
    inner = SimpleNamespace(**own)
    inner.get_text_config = lambda: inner
    return inner


@pytest.mark.parametrize(
    ("fields", "attention", "said"),
    [
        ({}, {None: 4}, ""),
        ({"sliding_window": 8}, {8: 4}, ""),
        ({"sliding_window": 8, "use_sliding_window": False}, {None: 4}, ""),
        (
            {"layer_types": ["chunked_attention"] * 3 + ["full_attention"], "attention_chunk_size": 6},
            {6: 3, None: 1},
            "",
        ),
        (
            {"layer_types": ["linear_attention"] * 3 + ["full_attention"]},
            {None: 1},
            "3 layers of linear_attention: their",
        ),
        ({"layer_types": ["hybrid"] * 4}, {None: 4}, "4 layers of hybrid: their weights are counted"),
        ({"layer_types": ["indexed_attention"] * 4}, {None: 4}, "counted as full attention, which is the most"),
        ({"layer_types": ["conv", "attention", "moe", "attention"]}, {None: 2}, ""),
    ],
)
def test_layers_by_the_configuration(fields: dict[str, Any], attention: dict[Any, int], said: str) -> None:
    model = torch.nn.Module()
    model.config, model.head = config(**fields), torch.nn.Linear(2, 2)
    model.get_output_embeddings = lambda: model.head
    counted = ModelFlops.of(model)
    assert {layers.span: layers.num_layers for layers in counted.attention} == attention
    assert {layers.flops_per_pair for layers in counted.attention} == {2 * 4 * (8 + 8)}
    assert [layers.is_chunked for layers in counted.attention] == [span == 6 for span in attention]
    assert said in " ".join(counted.assumptions)
    assert bool(counted.assumptions) == bool(said)


def test_layers_that_differ_in_their_heads() -> None:
    transformers = pytest.importorskip("transformers", minversion="5.23")
    sizes = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 16, "sliding_window": 4}
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    own = {"layer_types": kinds, "vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 0}
    with torch.device("meta"):
        model = transformers.Gemma4ForCausalLM(transformers.Gemma4TextConfig(**sizes, **own))
    assert ModelFlops.of(model).attention == (AttentionLayers(2, 2 * 4 * 16, 4), AttentionLayers(1, 2 * 4 * 32))


def test_what_is_not_known_is_said() -> None:
    assert ModelFlops.of_size(0).assumptions == (UNKNOWN_SIZE,)
    assert ModelFlops.of_size(5).assumptions == (UNKNOWN_ATTENTION,)
    model = mixtral()
    model.config.num_experts_per_tok = 0
    counted = ModelFlops.of(model)
    assert counted.assumptions == ("how many experts a token is sent to is not known: all are counted",)
    assert counted.params > matmul_parameters(mixtral())


def test_experts_under_other_names_are_said() -> None:
    model = llama()
    model.config.num_local_experts, model.config.num_experts_per_tok = 4, 2
    counted = ModelFlops.of(model)
    assert counted.params == matmul_parameters(llama())
    assert counted.assumptions == ("which of its weights are experts is not known: all are counted for every token",)
