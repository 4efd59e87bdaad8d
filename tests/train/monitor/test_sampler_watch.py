"""An engine that keeps old weights is noticed within a few steps; a healthy one is not, whatever its numerics are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from crossdistill.distill.policy_drift import PolicyDrift
from crossdistill.train.monitor.sampler_watch import KIND, MAX_DRIFT, MAX_GROWTH, NUM_ROLLOUTS, SamplerWatch
from crossdistill.train.monitor.watchdog import Watchdog
from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs
from tests.models import Pair
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import RecordingTrainer, load, make_trainer, sampled_logprobs

# policy_drift in 1e-4 nats a token of the demo's student under vLLM 0.32 on a CPU, 16 responses a rollout
HEALTHY = {
    "bfloat16 in vLLM": [2.7, 4.1, 4.6, 5.5, 6.3, 3.8, 5.4, 4.3, 5.9, 3.1, 4.3, 5.8, 8.5, 1.9, 6.5, 1.6, 4.3, 2.2, 3.3],
    "bfloat16 in both": [0.8, 3.4, 2.0, 0.0, 1.2, 1.2, 1.7, 7.5, 9.2, 10, 3.9, 5.1, 4.9, 1.9, 4.9, 0.7, 4.0, 6.6, 4.1],
    "temperature 1.3": [
        1.4,
        2.3,
        1.9,
        8.1,
        1.6,
        1.7,
        2.2,
        7.0,
        2.4,
        3.4,
        6,
        7.8,
        2.1,
        3.8,
        3.1,
        3.7,
        5.7,
        7,
        5.3,
        16.8,
    ],
    "LoRA": [2.7, 5.1, 3.1, 4.9, 3.9, 3.9, 3.6, 5.1, 3.2, 8.7, 5.4, 2.7, 5.3, 0.8, 3.1, 3.3, 6.1, 3.3, 2.8, 1.9],
}
STALE = {
    "no weights": [5.9, 74, 145, 174, 224, 286, 237, 406, 419, 287, 331],
    "no weights, bfloat16 in both": [0.8, 77, 146, 171, 217, 286, 242, 421, 418, 293, 328],
    "no weights, a tenth of the learning rate": [4.6, 5.1, 10.2, 20.1, 46.7, 25.4, 41.1, 25.7, 54.3, 57.4, 57.6],
    "those of an earlier run": [990, 710, 470, 460, 610, 430, 1000, 990, 840, 1100, 1000],
    "all weights but the head": [0.0, 9.1, 14.9, 27.7, 34.5, 26.5, 19.7, 30.1, 46.0, 30.7, 54.2],
}


def warned(drifts: Sequence[float], tokens: float = 300.0) -> list[tuple[int, str]]:
    watchdog = Watchdog(emit=lambda _: None)
    watch = SamplerWatch(watchdog)
    for step, drift in enumerate(drifts):
        watch.add(step, PolicyDrift(tokens, tokens * drift))
    return [(warning.step, warning.kind) for warning in watchdog.warnings]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_engine_is_left_alone(name):
    assert warned([1e-4 * value for value in HEALTHY[name]]) == []


@pytest.mark.parametrize("name", STALE)
def test_old_weights_are_noticed_within_eight_steps(name):
    ((step, kind),) = warned([1e-4 * value for value in STALE[name]])
    assert kind == KIND and step < 8


@pytest.mark.parametrize("level", [0.003, 0.01, 0.04])
def test_what_numerics_explain_is_what_they_were_at_the_start(level):
    """Large models in bfloat16 differ more than the demo's."""
    random = np.random.default_rng(0)
    for _ in range(20):
        assert warned([random.exponential(level, 300).mean() for _ in range(100)]) == []
    limit = min(MAX_GROWTH * level, MAX_DRIFT)
    assert warned([level, *[1.1 * limit] * NUM_ROLLOUTS]) == [(NUM_ROLLOUTS, KIND)]
    assert warned([level, *[0.9 * limit] * NUM_ROLLOUTS]) == []


def test_micro_batches_of_a_step_are_one_rollout():
    watch = SamplerWatch(Watchdog(emit=lambda _: None))
    for step in range(NUM_ROLLOUTS):
        for part in range(3):
            watch.add(step, PolicyDrift(10.0, 0.0 if step == 0 and part == 0 else 0.3))
    assert watch.watchdog.warnings == []
    watch.add(NUM_ROLLOUTS, PolicyDrift(10.0, 100.0))  # the fifth after the first one
    (warning,) = watch.watchdog.warnings
    mean = (0.9 * 4 + 100) / (30 * 4 + 10)
    assert f"was 0.02 nats a token in the first rollout and is {mean:.2g} in the latest 5, so" in warning.message


def test_a_resumed_run_is_compared_with_its_first_rollout(tmp_path):
    """The server may have the first weights again, so that the first rollout after the checkpoint is off already."""
    before, after = (SamplerWatch(Watchdog(emit=lambda _: None)) for _ in range(2))
    before.add(0, PolicyDrift(100.0, 0.1))
    before.add(1, PolicyDrift(100.0, 0.2))
    before.save(tmp_path / "other", is_writer=False)
    after.load(tmp_path / "other")
    before.save(tmp_path, is_writer=True)
    after.load(tmp_path)
    for step in range(2, 2 + NUM_ROLLOUTS):
        after.add(step, PolicyDrift(100.0, 5.0))
    assert [warning.step for warning in after.watchdog.warnings] == [1 + NUM_ROLLOUTS]


def test_a_second_training_is_compared_with_the_first_rollout_of_all():
    watch = SamplerWatch(Watchdog(emit=lambda _: None))
    for training, drift in enumerate([0.001, 0.02]):
        watch.begin()
        for step in range(NUM_ROLLOUTS + 1):
            watch.add(step, PolicyDrift(100.0, 100 * drift))
            late = training == 1 and step >= NUM_ROLLOUTS - 1
            assert [warning.kind for warning in watch.watchdog.warnings] == [KIND] * late


# ---- in a run -------------------------------------------------------------------------------------------------------


def run(pair: Pair, output: Any, sampler: Any = None, noise: float = 0.0, **options: Any) -> RecordingTrainer:
    """A run in which a stand-in for vLLM samples, with the weights of `sampler`; with those of the student if None."""
    trainer = make_trainer(pair, output, learning_rate=3e-3, **options)
    random = np.random.default_rng(0)

    def logprob(prompt: list[int], ids: list[int]) -> list[float]:
        with torch.no_grad():
            values = sampled_logprobs(sampler or trainer.model, prompt, ids, trainer.temperature).double().numpy()
        return (values + noise * random.normal(size=len(ids))).tolist()

    def respond(prompt: list[int]) -> list[int]:
        return random.integers(10, 60, size=12).tolist()

    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = KeepSampledLogprobs(FakeVLLM(respond, logprob), trainer.model)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("options", "noise"),
    [
        ({"max_steps": 7}, 0.02),
        pytest.param({"max_steps": 20}, 0.0, marks=pytest.mark.slow),
        pytest.param({"max_steps": 20, "bf16": True, "temperature": 1.3}, 0.02, marks=pytest.mark.slow),
    ],
    ids=["noise", "float32", "bfloat16"],
)
def test_a_healthy_run_is_silent(pair, output, options, noise):
    trainer = run(pair, output, noise=noise, **options)
    assert trainer.watchdog.warnings == []
    assert len(trainer.steps) == options["max_steps"]
    assert all(abs(step["ratio"] - 1) < 0.01 for step in trainer.steps)


def test_weights_that_do_not_arrive_are_told_in_one_sentence(pair, output, caplog):
    trainer = run(pair, output, load(pair.student), noise=0.005, max_steps=6)
    (warning,) = trainer.watchdog.warnings
    assert (warning.kind, warning.step) == (KIND, NUM_ROLLOUTS)
    assert warning.message in caplog.text
    assert "weights do not arrive in vLLM, or only some of them" in warning.message
