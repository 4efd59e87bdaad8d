"""Every objective through the trainer: what a step minimises is the objective on the batch, divided once."""

from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill import InputError
from crossdistill.objectives import LossInputs, available
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.signal import Signal
from tests.models import Pair
from tests.train.harness import BATCH, RecordingTrainer, fast_for, load, make_trainer

GENTLE = {"learning_rate": 1e-3, "max_steps": 2}


def expected_loss(trainer: RecordingTrainer, batch: int, step: int) -> float:
    """Response by response, each alone through the model with the weights before `step`."""
    model = load(trainer.student_folder)
    trainer.objective.attach(model)
    model.load_state_dict(trainer.weights[step], strict=False)
    head, total, weight = LMHead.from_model(model), 0.0, 0.0
    for prompt_ids, item in zip(trainer.prompt_ids[batch], trainer.rollouts[batch], strict=True):
        ids = [*prompt_ids, *item.response.ids.tolist()]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0]
            before = len(prompt_ids) - 1 + torch.from_numpy(item.mask).nonzero()[:, 0]
            advantages = torch.from_numpy(item.advantages[item.mask])
            states = HiddenStates(hidden[before], head)
            total += trainer.objective.loss(LossInputs(item.batch, advantages, states)).total.item()
        weight += trainer.objective.weight(item.batch)
    return total / weight


def teacher_of(pair: Pair, name: str) -> dict[str, Any]:
    """The pair's, and where one vocabulary is needed a model of the student's tokenizer with other weights."""
    if name != "gkd":
        return {}
    other = load(pair.student)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 0.5 * torch.randn_like(parameter))
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    return {"teacher": other, "trainer_options": {"teacher_processing_class": tokenizer}}


@pytest.mark.parametrize("name", fast_for(sorted(set(available()) - {"gvpo"})))  # which has a file of its own
def test_a_step_minimises_the_mean_over_all_responses(pair, output, name):
    halves = {"per_device_train_batch_size": BATCH // 2, "gradient_accumulation_steps": 2}
    trainer = make_trainer(pair, output, objective=name, **halves, **GENTLE, **teacher_of(pair, name))
    trainer.student_folder = pair.student
    trainer.train()
    for step in range(2):
        assert trainer.steps[step]["loss"] == pytest.approx(expected_loss(trainer, step, step), rel=2e-3, abs=1e-4)
        assert trainer.steps[step]["grad_norm"] > 0
        assert trainer.steps[step]["coverage"] == 1
        assert trainer.steps[step]["entropy"] > 0


@pytest.mark.parametrize("name", fast_for(sorted(set(available()) - {"dpca"})))
def test_states_are_kept_no_longer_than_the_loss_needs_them(pair, output, name):
    trainer = make_trainer(pair, output, objective=name, max_steps=1, **teacher_of(pair, name))
    trainer.train()
    for item in [item for item in trainer.scored if item.batch is not None]:
        assert (item.batch.teacher.states is not None) == (trainer.objective.loss_signal is Signal.DENSE)
        assert item.teacher.states is None


def test_one_vocabulary_is_demanded_where_it_is_needed(pair, output):
    with pytest.raises(InputError, match="objective 'gkd'"):
        make_trainer(pair, output, objective="gkd")


def test_the_choice_is_made_for_the_pair_and_told(pair, output):
    trainer = make_trainer(pair, output, objective="auto", max_steps=1)
    assert trainer.objective.name == trainer.choice.objective
    assert "chunks of several teacher tokens" in trainer.choice.reason
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0


def test_the_choice_takes_no_options(pair, output):
    with pytest.raises(InputError, match="objective 'auto' takes no options"):
        make_trainer(pair, output, objective="auto", objective_options={"credit": "first"})


# --- what is trained beside the student


BYTES = {"objective": "bld", "objective_options": {"num_bytes": 2}}


def test_byte_heads_are_trained_and_not_saved_with_the_student(pair, output):
    trainer = make_trainer(pair, output, **BYTES, max_steps=3)
    trainer.train()
    for part in ("weight", "bias"):
        name = f"{auxiliary_heads.NAME}.{part}"
        assert not trainer.weights[0][name].any()
        assert trainer.weights[-1][name].any()
    trunk = "model.layers.0.mlp.down_proj.weight"
    assert torch.equal(trainer.weights[1][trunk], trainer.weights[0][trunk])  # heads of 0 move nothing
    assert not torch.equal(trainer.weights[2][trunk], trainer.weights[1][trunk])
    trainer.save_model(str(output / "student"))
    saved, report = AutoModelForCausalLM.from_pretrained(output / "student", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert torch.equal(dict(saved.named_parameters())[trunk], trainer.weights[-1][trunk])
    assert auxiliary_heads.auxiliary_heads_of(trainer.model) is trainer.objective.heads


@pytest.mark.parametrize(
    "adapter",
    [None, pytest.param(LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"), marks=pytest.mark.slow)],
)
def test_a_resumed_run_goes_on_with_its_byte_heads(pair, output, adapter):
    options = {**BYTES, "save_strategy": "steps", "save_steps": 2, "trainer_options": {"peft_config": adapter}}
    whole = make_trainer(pair, output / "whole", **options, max_steps=4)
    whole.train()
    make_trainer(pair, output / "parts", **options, max_steps=2).train()
    resumed = make_trainer(pair, output / "parts", **options, max_steps=4)
    resumed.train(resume_from_checkpoint=True)
    for name, value in whole.weights[-1].items():
        torch.testing.assert_close(resumed.weights[-1][name], value, msg=name)
    checkpoint = output / "parts" / "checkpoint-4"
    assert (checkpoint / auxiliary_heads.FILE).exists()
    assert not any(auxiliary_heads.NAME.encode() in path.read_bytes() for path in checkpoint.glob("*model.safetensors"))


def test_heads_of_another_size_are_refused(pair, output):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    make_trainer(pair, output, **BYTES, **options).train()
    other = make_trainer(pair, output, objective="bld", objective_options={"num_bytes": 3}, **options)
    with pytest.raises(InputError, match="does not have the sizes that"):
        other.train(resume_from_checkpoint=True)
