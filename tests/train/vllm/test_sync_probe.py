"""An engine that keeps the weights of the step before is told at once, however small the step; a healthy one is not."""

from typing import Any

import pytest
import torch
from torch import nn

from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.train.monitor.sampler_watch import KIND
from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs
from crossdistill.train.vllm.sync_probe import QUESTION_TOKENS, SETTINGS, SyncProbe
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import load, make_trainer, sampled_logprobs

PROMPT = list(range(30))
LAYERS, WIDTH = 4, 50


def student() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))


class Engine(FakeVLLM):
    """Answers with a sum of the weights that it was sent."""

    def __init__(self, model: nn.Module):
        self.settings: list[dict[str, Any]] = []
        self.questions: list[list[int]] = []
        self._model, self._held = model, 0.0
        super().__init__(lambda _: [1, 2], self._logprob)

    def sync_weights(self) -> None:
        self._held = float(sum(param.detach().abs().double().sum() for param in self._model.parameters()))

    def _logprob(self, prompt: list[int], ids: list[int]) -> list[float]:
        self.questions.append(prompt)
        self.settings.append({name: getattr(self, name) for name in SETTINGS})
        return [-self._held] * len(ids)


def step_of(model: nn.Module, size: float) -> None:
    with torch.no_grad():
        for param in model.parameters():
            param.add_(size * torch.randn_like(param).sign())


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_a_left_out_sync_is_told_at_its_step_and_at_no_other(size):
    model = student()
    engine = Engine(model)
    probe, told = SyncProbe(engine, model), []
    for step in range(20):
        if step != 7:
            engine.sync_weights()
        told.append(probe.is_stale(step, PROMPT))
        assert not probe.is_stale(step, PROMPT)  # the next turn of the same rollout
        step_of(model, size)
    assert [step for step, is_stale in enumerate(told) if is_stale] == [7]
    assert engine.questions == [PROMPT[-QUESTION_TOKENS:]] * 20


def test_weights_that_did_not_change_are_not_missed():
    """A learning rate of 0, a step that was skipped, the end of a schedule, and weights that are not trained."""
    model = student()
    model[:2].requires_grad_(False)
    probe = SyncProbe(Engine(model), model)
    assert not probe.is_stale(0, PROMPT)
    assert not probe.is_stale(1, PROMPT)
    with torch.no_grad():
        for frozen in model[:2].parameters():
            frozen.add_(1)
    auxiliary_heads.attach(model, nn.Linear(2, 2))
    assert not probe.is_stale(2, PROMPT)
    step_of(model, 1e-3)
    assert probe.is_stale(3, PROMPT)
    with torch.no_grad():
        model[2].weight.add_(1)  # and no more: a fraction of what a step changes
    assert not probe.is_stale(4, PROMPT)


def test_the_question_leaves_the_settings_of_the_run():
    model = student()
    engine = Engine(model)
    given = engine.generation_kwargs = {"stop_token_ids": [3]}
    SyncProbe(engine, model).is_stale(0, [5, 6])
    assert (engine.settings, engine.questions) == ([SETTINGS], [[5, 6]])
    assert (engine.temperature, engine.max_completion_length) == (1.0, 100)
    assert engine.generation_kwargs is given


def test_an_engine_that_discards_its_weights_is_not_asked():
    model = student()
    engine = Engine(model)
    engine.enable_sleep_mode = True
    assert not SyncProbe(engine, model).is_stale(0, PROMPT)
    assert engine.questions == []


def engine_that_follows(trainer: Any, student: str, left_out: int | None = None) -> FakeVLLM:
    """vLLM with weights of its own, which a sync at the step `left_out` does not reach."""
    held = load(student)

    def sync() -> None:
        engine.synced += 1
        if trainer.state.global_step != left_out:
            held.load_state_dict(trainer.model.state_dict())

    def logprob(prompt: list[int], ids: list[int]) -> list[float]:
        with torch.no_grad():
            return sampled_logprobs(held, prompt, ids, trainer.temperature).tolist()

    engine = FakeVLLM(lambda _: [5, 7, 11], logprob)
    engine.sync_weights = sync  # type: ignore[method-assign]
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = KeepSampledLogprobs(engine, trainer.model)
    return engine


@pytest.mark.parametrize("left_out", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_a_run_tells_it(pair, output, left_out):
    trainer = make_trainer(pair, output, max_steps=3, learning_rate=1e-6)
    engine_that_follows(trainer, pair.student, left_out)
    trainer.train()
    warnings = [(warning.step, warning.kind) for warning in trainer.watchdog.warnings]
    assert warnings == ([] if left_out is None else [(left_out, KIND)])


def test_each_training_begins_with_a_sync(pair, output):
    """Also if the one before it sent its weights at the same step."""
    trainer = make_trainer(pair, output, max_steps=1, learning_rate=1e-6)
    engine = engine_that_follows(trainer, pair.student)
    for trainings in (1, 2):
        trainer.train()
        assert engine.synced == trainings
