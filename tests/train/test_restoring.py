"""A resumed run goes on with all weights of its checkpoint, or not at all."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from crossdistill.findings import FindingError
from crossdistill.train.restoring import check_adapter, restore
from tests import tiny_models
from tests.models import Pair, student_tokenizer
from tests.train.harness import make_trainer, weights_of


def experts(seed: int, vocab_size: int = 40) -> Any:
    sizes = {**tiny_models.SIZES, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(vocab_size=vocab_size, **sizes))


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("name", ["llama", "tied_qwen", "gpt2"])
@pytest.mark.parametrize("shard", ["5GB", "2KB"])
def test_all_weights_come_back(name: str, shard: str, tmp_path: Path) -> None:
    saved, student = tiny_models.build(name, seed=1), tiny_models.build(name, seed=2)
    saved.save_pretrained(tmp_path, max_shard_size=shard)
    restore(student, tmp_path)
    assert same(weights_of(student), weights_of(saved))


def test_a_student_with_layers_of_ones_own_is_restored_by_name(tmp_path: Path) -> None:
    saved, student = tiny_models.build("llama", seed=1), tiny_models.build("llama", seed=2)
    for model in (saved, student):
        model.model.norm = torch.nn.Sequential(model.model.norm)
    saved.save_pretrained(tmp_path)
    restore(student, tmp_path)
    assert same(weights_of(student), weights_of(saved))


def test_experts_are_saved_one_by_one_and_come_back(tmp_path: Path) -> None:
    saved, student = experts(1), experts(2)
    saved.save_pretrained(tmp_path)
    assert not any(name in load_file(tmp_path / "model.safetensors") for name in weights_of(saved) if "experts" in name)
    restore(student, tmp_path)
    assert same(weights_of(student), weights_of(saved))


def test_parameters_keep_their_dtype_and_lose_no_bit(tmp_path: Path) -> None:
    saved, student = (tiny_models.build("llama", seed=seed).bfloat16() for seed in (1, 2))
    for model in (saved, student):
        model.model.norm.float()
    saved.model.norm.weight.data.fill_(1 + 2**-20)
    saved.save_pretrained(tmp_path)
    restore(student, tmp_path)
    assert same(weights_of(student), weights_of(saved))
    assert student.model.norm.weight.dtype == torch.float32


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tiny_models.build("llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    norm = weights.pop("model.norm.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(FindingError, match=r"the weights of the checkpoint '.*' do not fit .* \(1 missing: model.norm"):
        restore(tiny_models.build("llama"), tmp_path)
    save_file({**weights, "model.norm.weight": norm[:8].clone()}, path, metadata={"format": "pt"})
    with pytest.raises(FindingError, match=r"1 of another shape: model.norm.weight is \[8\], not \[16\]"):
        restore(tiny_models.build("llama"), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FindingError, match="are damaged"):
        restore(tiny_models.build("llama"), tmp_path)


def adapter(rank: int = 4, modules: tuple[str, ...] = ("q_proj",), **options: Any) -> Any:
    return get_peft_model(tiny_models.build("llama"), LoraConfig(r=rank, target_modules=list(modules), **options))


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["lm_head"]}, {"use_dora": True}])
def test_an_adapter_that_fits_passes(options: dict[str, Any], tmp_path: Path) -> None:
    adapter(**options).save_pretrained(tmp_path)
    check_adapter(adapter(**options), tmp_path)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"rank": 2}, r"\d+ of another shape: .*lora_A.weight is \[2, 16\], not \[4, 16\]"),
        ({"modules": ("v_proj",)}, r"\d+ missing: .*q_proj.lora_A.weight.*unexpected: .*v_proj"),
        ({"modules": ("q_proj", "v_proj")}, r"\d+ unexpected: .*v_proj.lora_A.weight"),
    ],
)
def test_another_adapter_is_refused(saved: dict[str, Any], message: str, tmp_path: Path) -> None:
    adapter(**saved).save_pretrained(tmp_path)
    with pytest.raises(
        FindingError, match=rf"the adapter in '.*' do not fit the adapter that is trained \(.*{message}"
    ):
        check_adapter(adapter(), tmp_path)


@pytest.mark.slow
def test_a_run_with_experts_resumes_as_if_it_had_not_stopped(pair: Pair, output: Path) -> None:
    tokenizer = student_tokenizer()
    experts(3, len(tokenizer)).save_pretrained(output / "student")
    tokenizer.save_pretrained(output / "student")
    options = {"student": str(output / "student"), "save_strategy": "steps", "save_steps": 1, "low_coverage": "ignore"}
    whole = make_trainer(pair, output / "runs", max_steps=2, **options)
    whole.train()
    resumed = make_trainer(pair, output / "runs", max_steps=2, **options)
    resumed.train(resume_from_checkpoint=str(output / "runs" / "checkpoint-1"))
    assert same(weights_of(resumed.model), weights_of(whole.model))


@pytest.mark.slow
def test_a_run_whose_checkpoint_lost_weights_is_not_resumed(pair: Pair, output: Path) -> None:
    make_trainer(pair, output, max_steps=1, save_strategy="steps", save_steps=1).train()
    path = output / "checkpoint-1" / "model.safetensors"
    weights = load_file(path)
    save_file({f"_orig_mod.{name}": value for name, value in weights.items()}, path, metadata={"format": "pt"})
    trainer = make_trainer(pair, output, max_steps=2)
    with pytest.raises(FindingError, match=r"they were saved from torch\.compile"):
        trainer.train(resume_from_checkpoint=True)
