"""Estimated memory: closed forms of the literature, sizes by hand, and a measured peak."""

import dataclasses
import multiprocessing

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config, Qwen3MoeConfig

from benchmarks.dense.memory import peak_of
from crossdistill.distill.student import collate, supervised_states
from crossdistill.inspection import memory
from crossdistill.inspection.activations import activations
from crossdistill.inspection.memory import Engine, Part, Phase, Setting, estimate, peaks
from crossdistill.inspection.model_size import ModelSize
from crossdistill.ops import token_logprobs

BILLIONS = 7_500_000_000
SETTING = Setting(
    engine=Engine.ONE,
    num_processes=1,
    weight_bytes=4,
    trained_bytes=4,
    compute_bytes=4,
    state_bytes=8,
    rows=1,
    length=1024,
    micro_batch_tokens=8192,
    micro_batch_rows=1,
    accumulates=False,
    is_checkpointed=False,
)
STATES = {"student: weights", "student: optimizer", "student: gradients"}


def set_to(**values) -> Setting:
    return dataclasses.replace(SETTING, **values)


def size(params: int) -> ModelSize:
    return ModelSize(params, params, 0, 0, 0, 32, 4096, 11008, 32000, 0)


def build(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    ("engine", "gigabytes"),
    [(Engine.ZERO2, 16.6), (Engine.ZERO3, 1.9)],
)
def test_the_table_of_zero(engine, gigabytes):
    """Rajbhandari et al. 1910.02054, figure 1: 7.5 billion weights on 64 GPUs."""
    setting = set_to(engine=engine, num_processes=64, weight_bytes=2, trained_bytes=2, compute_bytes=2)
    states = sum(part.num_bytes for part in estimate(setting, size(BILLIONS), None) if part.name in STATES)
    assert states / 1e9 == pytest.approx(gigabytes, abs=0.05)


@pytest.mark.parametrize(("engine", "shards"), [(Engine.ONE, 1), (Engine.DDP, 1), (Engine.FSDP, 8)])
def test_sixteen_bytes_a_weight(engine, shards):
    setting = set_to(engine=engine, num_processes=8, compute_bytes=2)
    states = sum(part.num_bytes for part in estimate(setting, size(BILLIONS), None) if part.name in STATES)
    assert states == 16 * BILLIONS / shards


def test_an_adapter_has_gradients_and_states_and_the_rest_only_weights():
    model = build(LlamaConfig(num_hidden_layers=2, vocab_size=100))
    whole = ModelSize.of(model)
    adapted = ModelSize.of(get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"])))
    assert adapted.trainable == 2 * 8 * (4096 + 4096)
    assert adapted.params == whole.params + adapted.trainable
    parts = {part.name: part.num_bytes for part in estimate(SETTING, adapted, None)}
    assert parts["student: weights"] == 4 * adapted.params
    assert parts["student: optimizer"] == 8 * adapted.trainable
    assert parts["student: gradients"] == 4 * adapted.trainable


def test_sizes_of_a_known_model():
    config = LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_key_value_heads=8
    )
    found = ModelSize.of(build(config))
    assert found.params == 8_030_261_248  # Llama-3.1-8B
    assert found.cached * 2 == 128 * 1024  # bytes a token in bfloat16
    assert found.layer == 218_112_000
    assert found.around == 2 * 128256 * 4096 + 4096


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen3Config])
def test_what_a_layer_keeps(kind):
    """In float32 at least the inputs of its seven matrices and what attention saves, by hand."""
    h, i, kv = 64, 192, 32
    config = kind(
        vocab_size=100,
        hidden_size=h,
        intermediate_size=i,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    kept = activations(config, torch.float32, torch.float32)
    least = 4 * (2 * h + h + h + 2 * kv + 3 * i)  # two normed inputs, queries, attention's output, keys, values, MLP
    assert least < kept.layer < 2.5 * least
    assert kept.residual == 4 * h
    assert kept.bytes_of(6, 10, is_checkpointed=False) == 10 * (6 * kept.layer + kept.around)
    assert kept.bytes_of(6, 10, is_checkpointed=True) == 10 * (6 * kept.residual + kept.layer + kept.around)


def test_an_architecture_that_cannot_be_run_without_numbers():
    config = Qwen3MoeConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=50, num_experts=4)
    assert activations(config, torch.float32, torch.bfloat16) is None


def test_peaks_are_those_of_phases():
    parts = [Part(Phase.ALWAYS, "a", 5), Part(Phase.SAMPLING, "b", 7), Part(Phase.TRAINING, "c", 1)]
    assert peaks(parts) == {Phase.SAMPLING: 12, Phase.TRAINING: 6}


def test_zero3_gathers_the_student_before_training():
    """Then there is neither an optimizer nor a teacher."""
    for engine in Engine:
        setting = set_to(engine=engine, num_processes=8, weight_bytes=2, trained_bytes=2, compute_bytes=2)
        found = peaks(estimate(setting, size(BILLIONS), None, (size(BILLIONS),))).get(Phase.START)
        assert found == (2 * BILLIONS * (1 + 1 / 8) if engine is Engine.ZERO3 else None)


@pytest.mark.parametrize(
    ("rows", "budget", "tokens"), [(1, 8192, 1024), (4, 8192, 4096), (64, 8192, 8192), (4, 1, 1024)]
)
def test_tokens_of_a_pass(rows, budget, tokens):
    assert set_to(micro_batch_rows=rows, micro_batch_tokens=budget).pass_tokens == tokens


@pytest.mark.slow
@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_a_measured_peak(is_checkpointed):
    """In a process of its own, whose memory no other test has shaped."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        estimated, measured = pool.apply(_estimated_and_measured, (is_checkpointed,))
    assert 0.7 < estimated / measured < 1.3


def _estimated_and_measured(is_checkpointed):
    torch.set_num_threads(1)
    memory.TILES = 1  # of a CPU; this process ends with the measurement
    config = LlamaConfig(
        vocab_size=8000,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = AutoModelForCausalLM.from_config(config).train()
    if is_checkpointed:
        model.activation_checkpointing_enable()
    setting = set_to(length=2048, is_checkpointed=is_checkpointed)
    parts = estimate(setting, ModelSize.of(model), activations(config, torch.float32, torch.float32))
    _step(model, 8)  # what libraries take at their first call is not counted
    model.zero_grad(set_to_none=True)
    with peak_of("cpu") as peak:
        _step(model, setting.length)
    return sum(part.num_bytes for part in parts if part.phase is Phase.TRAINING), peak.extra_bytes


def _step(model, length):
    inputs = collate([[1] * 4], [[2] * (length - 4)], 0)
    mask = inputs["completion_mask"]
    states = supervised_states(model, inputs, mask)
    token_logprobs(*states, inputs["completion_ids"][mask]).logprobs.sum().backward()
