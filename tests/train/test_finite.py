"""A run whose weights are spoilt ends at that step: nothing of it is saved, and what was saved before stays."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer

from crossdistill.findings import FindingError
from crossdistill.runs.sft import sft_trainer
from crossdistill.tokens import ByteVocab
from tests.models import Pair
from tests.train.harness import load, make_trainer

SAVING = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}


def sft_of(pair: Pair, output: Path, student: Any, **options: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    rows = Dataset.from_list([{"prompt": "a", "completion": "b"}] * 8)
    given = {"use_cpu": True, "bf16": False, "max_steps": 3, "per_device_train_batch_size": 1, **SAVING, **options}
    return sft_trainer(student, tokenizer, ByteVocab.from_tokenizer(tokenizer), rows, output, given)


def distillation_of(pair: Pair, output: Path, student: Any, **options: Any) -> Any:
    given = {"processing_class": AutoTokenizer.from_pretrained(pair.student, padding_side="left")}
    return make_trainer(pair, output, student=student, trainer_options=given, **{"max_steps": 3, **SAVING, **options})


MAKERS = pytest.mark.parametrize("make", [distillation_of, sft_of])


def spoiling(student: nn.Module, step: int) -> nn.Module:
    """The student, whose gradient is NaN at an optimisation step, from 1."""
    steps: list[int] = []

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        return gradient * torch.nan if len(steps) == step else gradient

    student.get_parameter("model.layers.0.mlp.down_proj.weight").register_hook(hook)
    return student


def weights_in(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


@MAKERS
@pytest.mark.parametrize("step", [1, 3])
def test_a_step_that_spoils_the_weights_ends_the_run_and_is_not_saved(pair, output, make, step):
    trainer = make(pair, output, spoiling(load(pair.student), step))
    with pytest.raises(FindingError, match=rf"numbers are not finite after step {step}: the weight .* overflowed"):
        trainer.train()
    kept = sorted(output.glob("checkpoint-*"))
    assert [folder.name for folder in kept] == ([f"checkpoint-{step - 1}"] if step > 1 else [])
    assert all(value.isfinite().all() for folder in kept for value in weights_in(folder).values())


@MAKERS
def test_a_step_that_overflows_from_finite_gradients_ends_the_run(pair, output, make):
    trainer = make(pair, output, load(pair.student), learning_rate=1e38, max_grad_norm=0.0, max_steps=1)
    with pytest.raises(FindingError, match="not finite after step 1"):
        trainer.train()
    assert not list(output.glob("checkpoint-*"))


@MAKERS
def test_an_infinite_gradient_that_changes_no_weight_is_no_harm(pair, output, make):
    """As with the loss scaling of float16, which leaves such a step out."""
    trainer = make(pair, output, load(pair.student), max_steps=1, max_grad_norm=0.0)
    trainer.model.get_parameter("model.norm.weight").register_hook(lambda gradient: gradient * torch.inf)
    trainer.create_optimizer()
    trainer.optimizer.step = lambda *_, **__: None
    trainer.train()


@MAKERS
def test_a_checkpoint_that_is_not_finite_is_not_resumed(pair, output, make):
    make(pair, output, load(pair.student), max_steps=1).train()
    file = output / "checkpoint-1" / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    for steps in (1, 2):  # the run is over, or goes on
        trainer = make(pair, output, load(pair.student), max_steps=steps)
        with pytest.raises(FindingError, match=r"the weight model\.norm\.weight of checkpoint-1 has NaN"):
            trainer.train(resume_from_checkpoint=True)


@MAKERS
def test_a_student_that_is_not_finite_is_told_before_the_first_step(pair, output, make):
    student = load(pair.student)
    with torch.no_grad():
        student.model.embed_tokens.weight[-1] = torch.nan  # which no prompt has
    with pytest.raises(FindingError, match=r"the weight model\.embed_tokens\.weight of \w+ has NaN or infinite"):
        make(pair, output, student).train()


def test_activations_that_overflow_at_the_first_rollout_are_a_matter_of_the_dtype(pair, output):
    student = load(pair.student).to(torch.float16)
    layer = student.model.layers[0].mlp.up_proj
    trainer = distillation_of(pair, output, student)
    with torch.no_grad():
        layer.weight.fill_(6e4)
    with pytest.raises(FindingError, match=r"up_proj \(Linear\) is the first layer that overflows, in float16\. Load"):
        trainer.train()


def test_logprobs_that_overflow_in_one_process_are_told_to_all(pair, output, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr("crossdistill.train.together.gather_object", lambda ours: told.extend(ours) or ours)
    trainer = distillation_of(pair, output, load(pair.student))
    old_logprobs = trainer.old_logprobs

    def overflowed(*args: Any) -> Any:
        found = old_logprobs(*args)
        return found._replace(tokens=[row * torch.nan for row in found.tokens])

    trainer.old_logprobs = overflowed
    with pytest.raises(FindingError, match="not finite"):
        trainer.train()
    assert any(one is not None for one in told)
