"""Every objective through the trainer: what a step minimises is the objective on the evidence, divided once."""

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import Signal, States, Supervision, available
from crossdistill.ops import LMHead
from tests.train.harness import BATCH, RecordingTrainer, load, make_trainer

GENTLE = {"learning_rate": 1e-3, "max_steps": 2}


def expected_loss(trainer: RecordingTrainer, batch: int, step: int) -> float:
    """Response by response, each alone through the model with the weights before `step`."""
    model = load(trainer.student_folder)
    model.load_state_dict(trainer.weights[step], strict=False)
    head, total, weight = LMHead.from_model(model), 0.0, 0.0
    for prompt_ids, item in zip(trainer.prompt_ids[batch], trainer.rollouts[batch], strict=True):
        ids = [*prompt_ids, *item.response.ids.tolist()]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0]
            before = len(prompt_ids) - 1 + torch.from_numpy(item.mask).nonzero()[:, 0]
            advantages = torch.from_numpy(item.advantages[item.mask])
            states = States(hidden[before], head)
            total += trainer.objective.loss(Supervision(item.evidence, advantages, states)).total.item()
        weight += trainer.objective.weight(item.evidence)
    return total / weight


@pytest.mark.parametrize("name", sorted(set(available()) - {"gkd", "bld"}))  # these two have tests of their own
def test_a_step_minimises_the_mean_over_all_responses(pair, output, name):
    trainer = make_trainer(
        pair, output, objective=name, per_device_train_batch_size=BATCH // 2, gradient_accumulation_steps=2, **GENTLE
    )
    trainer.student_folder = pair.student
    trainer.train()
    for step in range(2):
        assert trainer.steps[step]["loss"] == pytest.approx(expected_loss(trainer, step, step), rel=2e-3, abs=1e-4)
        assert trainer.steps[step]["grad_norm"] > 0
        assert trainer.steps[step]["coverage"] == 1
        assert trainer.steps[step]["entropy"] > 0


@pytest.mark.parametrize("name", sorted(set(available()) - {"gkd", "bld", "dpca"}))
def test_states_are_kept_no_longer_than_the_loss_needs_them(pair, output, name):
    trainer = make_trainer(pair, output, objective=name, max_steps=1)
    trainer.train()
    for item in trainer.scored:
        assert (item.evidence.teacher.states is not None) == (trainer.objective.loss_signal is Signal.DENSE)
        assert item.teacher.states is None


def test_one_vocabulary_is_demanded_where_it_is_needed(pair, output):
    with pytest.raises(InputError, match="objective 'gkd'"):
        make_trainer(pair, output, objective="gkd")


def test_the_choice_is_made_for_the_pair_and_told(pair, output):
    trainer = make_trainer(pair, output, objective="auto", max_steps=1)
    assert trainer.objective.name == trainer.choice.objective
    assert trainer.objective.signal is Signal.DENSE
    assert "1:1 chunks" in trainer.choice.reason
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0


def test_the_choice_takes_no_options(pair, output):
    with pytest.raises(InputError, match="objective 'auto' takes no options"):
        make_trainer(pair, output, objective="auto", objective_options={"credit": "first"})
