"""gvpo in the trainer: groups in micro-batches, several steps a rollout, evaluation, and what is refused."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.teachers import LocalTeacher
from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs
from tests.models import MESSAGES, Pair
from tests.oracles import gvpo as oracle
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import BATCH, RecordingTrainer, arguments, load, make_trainer, rows, sampled_logprobs

GROUPED = {"objective": "gvpo", "num_generations": 2, "learning_rate": 1e-3}


def trainer_of(pair: Pair, output: Path, **options: Any) -> RecordingTrainer:
    """Its samples are texts without control tokens, two thirds of them ended: those of an untrained student are not."""
    trainer = make_trainer(pair, output, **{**GROUPED, "max_steps": 1, **options})
    texts, stops = np.flatnonzero(trainer.student_vocab.lengths > 0), trainer.distiller.stop_ids

    def respond(prompt: Sequence[int], row: int) -> list[int]:
        rng = np.random.default_rng([sum(prompt), row])
        ids = rng.choice(texts, rng.integers(1, 11)).tolist()
        return [*ids, stops[row % len(stops)]] if row % 3 else ids

    trainer._generate_single_turn = lambda prompt_ids, *_, **__: [  # type: ignore[method-assign]
        respond(list(ids), row) for row, ids in enumerate(prompt_ids)
    ]
    trainer.student_folder = pair.student
    return trainer


def log_ratios(trainer: RecordingTrainer, batch: int, step: int) -> list[float]:
    """d of each response of a batch under the weights before a step: its sampled tokens, the stop as all stops."""
    model = load(trainer.student_folder)
    model.load_state_dict(trainer.weights[step])
    found = []
    for prompt_ids, item in zip(trainer.prompt_ids[batch], trainer.rollouts[batch], strict=True):
        ids = item.response.ids.tolist()
        has_stop = item.response.stop_position is not None
        text = ids[: len(ids) - has_stop]
        with torch.no_grad():
            value = sampled_logprobs(model, prompt_ids, text).sum()
            if has_stop:
                ends = [sampled_logprobs(model, prompt_ids, [*text, stop])[-1] for stop in trainer.distiller.stop_ids]
                value = value + torch.stack(ends).logsumexp(0)
        found.append(float(value) - float(item.teacher.logprobs.sum()) - (item.teacher.stop_logprob or 0.0))
    return found


def expected_loss(trainer: RecordingTrainer, batch: int, step: int, size: int) -> float:
    """The mean over groups of half the variance, and at a later step what holds the mean of the group."""
    old, new = (np.reshape(log_ratios(trainer, batch, at), (-1, size)) for at in (batch_start(trainer, batch), step))
    total = 0.0
    for before, now in zip(old, new, strict=True):
        variance = float(oracle.half_variance([torch.tensor(value) for value in now]))
        total += variance + size / (size - 1) / 2 * (now.mean() - before.mean()) ** 2
    return total / len(new)


def batch_start(trainer: RecordingTrainer, batch: int) -> int:
    return batch * trainer.args.num_iterations


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one row a pass": {"micro_batch_tokens": 1, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    "several steps a rollout": {"num_iterations": 2, "max_steps": 4},
    "groups of four": {"num_generations": BATCH},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_minimises_the_mean_over_groups(pair, output, variant):
    trainer = trainer_of(pair, output, **{"max_steps": 2, **VARIANTS[variant]})
    trainer.train()
    for step, logged in enumerate(trainer.steps):
        batch = step // trainer.args.num_iterations
        assert {item.dropped for item in trainer.rollouts[batch]} == {None}
        expected = expected_loss(trainer, batch, step, trainer.args.num_generations)
        assert logged["loss"] == pytest.approx(expected, rel=2e-3, abs=1e-3)
        assert logged["grad_norm"] > 0
        assert (logged["abs_gain"] > 1e-3) == (step % trainer.args.num_iterations > 0)


def test_the_gradient_is_that_of_whole_batches_however_they_are_cut(pair, output):
    cut = {"micro_batch_tokens": 1, "gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2}
    runs = []
    for name, options in {"whole": {}, "cut": cut}.items():
        trainer = trainer_of(pair, output / name, **options)
        trainer.train()
        runs.append(trainer)
    whole, apart = runs
    assert [item.response.data for item in whole.scored] == [item.response.data for item in apart.scored]
    assert apart.steps[0]["loss"] == pytest.approx(whole.steps[0]["loss"], rel=1e-5)
    assert apart.steps[0]["grad_norm"] == pytest.approx(whole.steps[0]["grad_norm"], rel=1e-4)


def test_a_dropped_response_leaves_its_group_and_is_counted(pair, output, monkeypatch):
    score = LocalTeacher.score

    def losing(self: LocalTeacher, requests: Any, *signal: Any) -> Any:
        return [DropReason.TEACHER_CONTEXT, *score(self, requests, *signal)[1:]]

    monkeypatch.setattr(LocalTeacher, "score", losing)
    trainer = trainer_of(pair, output, low_coverage="ignore")
    trainer.train()
    assert [item.dropped for item in trainer.scored] == [DropReason.TEACHER_CONTEXT, DropReason.ALONE, None, None]
    dropped = trainer.usage.coverage.dropped
    assert dropped[DropReason.ALONE].tokens == len(trainer.scored[1].response.ids)
    assert trainer.steps[0]["grad_norm"] > 0


def test_evaluation_tells_the_gap_and_no_loss(pair, output):
    trainer = make_trainer(pair, output, **GROUPED, trainer_options={"eval_dataset": rows(MESSAGES[:3])})
    found = trainer.evaluate()
    assert found["eval_teacher_gap"] > 0 and found["eval_coverage"] == 1
    assert "eval_loss" not in found


def test_responses_of_vllm_keep_their_own_log_probabilities(pair, output):
    """Though their prompts are the same; the gain is what both engines differ by."""
    student, offset, calls = load(pair.student), 0.02, itertools.count()
    trainer = make_trainer(pair, output, **{**GROUPED, "max_steps": 1})
    texts = np.flatnonzero(trainer.student_vocab.lengths > 0)

    def respond(_: list[int]) -> list[int]:
        rng = np.random.default_rng(next(calls))
        return rng.choice(texts, rng.integers(2, 9)).tolist()

    def logprob(prompt: list[int], ids: list[int]) -> list[float]:
        with torch.no_grad():
            return (sampled_logprobs(student, prompt, ids) - offset).tolist()

    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = KeepSampledLogprobs(FakeVLLM(respond, logprob), trainer.model)
    trainer.train()
    assert trainer._batches["train"].rollout.groups == [0, 0, 1, 1]
    for ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        np.testing.assert_allclose(item.student_logprobs, logprob(ids, item.response.ids), rtol=1e-6)
    lengths = [len(item.response.ids) for item in trainer.rollouts[0]]
    assert len(set(lengths)) > 1
    assert trainer.steps[0]["abs_gain"] == pytest.approx(offset * np.mean(lengths), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_generations": 1}, "compares the responses to one prompt with each other: set num_generations to 2 or"),
        ({"stop_unit": False}, "compares whole responses, their end included: leave stop_unit on"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "save_steps": 500},
            "has no loss in evaluation, .*: set metric_for_best_model = 'teacher_gap' and greater_is_better = False",
        ),
        ({"objective_options": {"clip": 1.0}}, "objective 'gvpo' has no option 'clip'; it takes none"),
    ],
)
def test_what_cannot_work_is_refused(output, options, message):
    with pytest.raises(InputError, match=message):
        arguments(output, **{**GROUPED, **options})


def test_tools_and_teachers_with_weights_are_refused_before_anything_is_loaded(pair, output, monkeypatch):
    monkeypatch.setattr("crossdistill.train.loading.load_model", None)

    def add(a: int, b: int) -> int:
        """Add.

        Args:
            a: one.
            b: other.
        """
        return a + b

    with pytest.raises(InputError, match="with tools each turn is scored by itself"):
        make_trainer(pair, output, **GROUPED, trainer_options={"tools": [add]})
    teachers = {"a": pair.teacher, "b": pair.teacher}
    with pytest.raises(InputError, match=re.escape("learns from one teacher a response")):
        make_trainer(pair, output, **GROUPED, teacher=teachers, teacher_weights={"a": 1.0, "b": 1.0})


def test_the_sampling_temperature_is_that_of_both_models(pair, output):
    trainer = trainer_of(pair, output, temperature=2.0)
    assert trainer.teacher.temperature == trainer.scoring_temperature == 2.0
    trainer.train()
    assert trainer.steps[0]["abs_gain"] == pytest.approx(0, abs=1e-4)  # of the policy that sampled
