"""What a run will be, from its file and its launch."""

import pytest
from transformers import LlamaConfig

from crossdistill.errors import InputError
from crossdistill.inspection.memory import Engine
from crossdistill.runs.config import RunConfig
from crossdistill.runs.forecast import forecast
from crossdistill.train.launch import Launch

GIB = 2**30


def sizes(student, teacher, engine=Engine.FSDP, precision="bf16", **options):
    run = {key: options.pop(key) for key in ("lora",) if key in options}
    config = RunConfig(student=str(student), teacher=str(teacher), dataset="prompts.jsonl", train=options, **run)
    found = forecast(config, Launch(engine, engine, 8, precision=precision), 512)
    return {part.name.removeprefix("student: "): part.num_bytes for part in found.parts}


@pytest.fixture
def llama(tmp_path):
    """Llama-3.1-8B without weights."""
    shape = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_key_value_heads": 8}
    LlamaConfig(vocab_size=128256, architectures=["LlamaForCausalLM"], **shape).save_pretrained(tmp_path)
    return tmp_path


def test_fsdp_trains_in_float32(pair, llama):
    """accelerate makes trained weights float32 if products are in half precision: 4 + 8 + 4 bytes over 8 GPUs."""
    loaded = {"model_init_kwargs": {"dtype": "bfloat16"}}
    mixed = sizes(llama, pair.teacher, **loaded)
    assert [round(mixed[name] / GIB, 1) for name in ("weights", "optimizer", "gradients")] == [3.7, 7.5, 3.7]
    pure = sizes(llama, pair.teacher, precision="no", bf16=False, **loaded)
    assert {mixed[name] / pure[name] for name in ("weights", "optimizer", "gradients")} == {2}


@pytest.mark.parametrize("engine", [Engine.DDP, Engine.FSDP])
def test_adapters_train_in_float32_and_frozen_weights_stay(pair, engine):
    loaded = {"model_init_kwargs": {"dtype": "bfloat16"}}
    whole = sizes(pair.student, pair.teacher, Engine.DDP, **loaded)["weights"]
    found = sizes(pair.student, pair.teacher, engine, lora={"r": 4, "target_modules": ["q_proj"]}, **loaded)
    shards = 8 if engine is Engine.FSDP else 1
    assert found["weights"] == (whole + found["gradients"] * shards) / shards
    assert found["optimizer"] == 2 * found["gradients"]


@pytest.mark.parametrize(
    "name",
    ["micro_batch_tokens", "per_device_train_batch_size", "max_completion_length", "learning_rate", "temperature"],
)
def test_what_a_run_refuses_is_refused(pair, name):
    with pytest.raises(InputError, match=name):
        sizes(pair.student, pair.teacher, **{name: 0})
