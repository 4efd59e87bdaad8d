"""A run on the tiny pair: what is trained on, and how old; at staleness 0 it is the synchronous algorithm."""

import json
from itertools import pairwise
from typing import Any

import pytest
import torch

from crossdistill import InputError
from crossdistill.distill import Distiller, ScoredBatch
from crossdistill.errors import TeacherUnavailableError
from crossdistill.findings import FindingError
from crossdistill.integrations.async_trl import AsyncTrainer, LocalSampler, RolloutWorker, Sampled
from crossdistill.integrations.async_trl.micro_batches import PackedSamples
from crossdistill.teachers import LocalTeacher
from tests.integrations.async_trl.conftest import BATCH, Make, load
from tests.models import Pair


class Recording(AsyncTrainer):
    """Keeps every micro-batch with the version that trained on it, and its loss."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.seen: list[tuple[int, PackedSamples, float]] = []
        super().__init__(*args, **kwargs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.seen.append((self.model_version, inputs, loss.item()))
        return loss

    @property
    def steps(self) -> list[dict[str, float]]:
        return [entry for entry in self.state.log_history if "loss" in entry]


def sequences(inputs: PackedSamples) -> list[tuple[torch.Tensor, ...]]:
    """The samples of a packed row: ids, mask, advantages and old log-probs of each."""
    starts = [*(inputs["position_ids"][0] == 0).nonzero()[:, 0].tolist(), inputs["input_ids"].shape[1]]
    names = "input_ids", "loss_mask", "advantages", "old_logprobs"
    return [
        tuple(inputs[name][0, start:end] for name in names)  # type: ignore[literal-required]
        for start, end in pairwise(starts)
    ]


@pytest.fixture
def first_step(make: Make) -> Recording:
    trainer = make(Recording, max_steps=1, learning_rate=0.0)
    trainer.train()
    return trainer


def scored_again(pair: Pair, teacher: LocalTeacher, trainer: Recording) -> tuple[Distiller, ScoredBatch, list[Any]]:
    """The samples of a run, scored in the synchronous way with the same old log-probs."""
    distiller = Distiller(trainer.distiller.renderer.tokenizer, teacher, student=load(pair.student))
    ((_, inputs, _),) = trainer.seen
    by_ids = {tuple(distiller.renderer.render(row["prompt"])): row["prompt"] for row in trainer.rollout_worker.rows}
    prompts, completions, logprobs, rows = [], [], [], sequences(inputs)
    for ids, _, _, old in rows:
        (before,) = [known for known in by_ids if tuple(ids[: len(known)].tolist()) == known]
        prompts.append(by_ids[before])
        completions.append(ids[len(before) :].tolist())
        logprobs.append(old[len(before) :])
    return distiller, distiller.score(prompts, completions, logprobs), rows


def test_advantages_and_loss_are_those_of_the_synchronous_algorithm(pair, teacher, first_step):
    distiller, batch, rows = scored_again(pair, teacher, first_step)
    assert len(rows) == BATCH
    for row, (_, mask, advantages, _) in enumerate(rows):
        size = len(batch.rollout.completion_ids[row])
        assert torch.equal(mask[-size:], batch.loss_mask[row, :size])
        torch.testing.assert_close(advantages[-size:], batch.advantages[row, :size], atol=1e-6, rtol=0)
        assert not mask[:-size].any()
    assert batch.advantages.abs().sum() > 1
    expected = distiller.loss(batch, *distiller.student_states(batch)) / batch.num_items
    ((_, _, loss),) = first_step.seen
    assert loss == pytest.approx(expected.item(), abs=1e-6)


def test_the_sampled_logprobs_are_those_that_the_student_gives(pair, teacher, first_step):
    """Two computations of one engine: apart by rounding."""
    distiller, batch, rows = scored_again(pair, teacher, first_step)
    own = distiller.score(batch.rollout.prompts, batch.rollout.completion_ids)
    for row, (*_, old) in enumerate(rows):
        size = len(batch.rollout.completion_ids[row])
        torch.testing.assert_close(old[-size:], own.old_logprobs[row, :size], atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.advantages, own.advantages, atol=1e-4, rtol=0)


def test_gradients_are_those_of_the_synchronous_algorithm(pair, teacher, make):
    trainer = make(
        Recording, max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=0, lr_scheduler_type="constant"
    )
    trainer.train()
    distiller, batch, _ = scored_again(pair, teacher, trainer)
    (distiller.loss(batch, *distiller.student_states(batch)) / batch.num_items).backward()
    trained = dict(trainer.model.named_parameters())
    for name, before in distiller.student.named_parameters():
        torch.testing.assert_close(before.detach() - trained[name].detach(), before.grad, atol=1e-6, rtol=1e-4)


def test_accumulated_micro_batches_are_one_mean(make):
    trainer = make(
        Recording, max_steps=1, per_device_train_batch_size=1, gradient_accumulation_steps=BATCH, learning_rate=0.0
    )
    trainer.train()
    assert len(trainer.seen) == BATCH
    weights = sum(float(inputs["weight"]) for _, inputs, _ in trainer.seen)
    terms = sum(
        float((advantages * mask).sum())
        for _, inputs, _ in trainer.seen
        for _, mask, advantages, _ in sequences(inputs)
    )
    assert sum(loss for *_, loss in trainer.seen) == pytest.approx(-terms / weights, abs=1e-5)
    assert trainer.steps[0]["loss"] == pytest.approx(-terms / weights, abs=1e-4)


@pytest.mark.parametrize("max_staleness", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_no_sample_is_older_than_allowed_when_it_is_trained_on(make, max_staleness):
    trainer = make(Recording, max_staleness=max_staleness, max_steps=6)
    trainer.train()
    ages = [int(inputs["staleness"].max()) for _, inputs, _ in trainer.seen]
    assert len(ages) == 6
    assert max(ages) <= max_staleness
    assert trainer.steps[-1]["sample/staleness_max"] <= max_staleness
    assert "sample/dropped_stale_total" not in trainer.steps[-1]
    for _, inputs, _ in trainer.seen:
        assert len(sequences(inputs)) == BATCH


def test_old_logprobs_are_those_of_the_policy_that_sampled(make, sampler, monkeypatch):
    """Each sample's, worked out with the weights that the sampler had at that version."""
    weights: dict[int, dict[str, torch.Tensor]] = {}
    sampled: list[tuple[int, list[list[int]], list[Sampled]]] = []
    sample = LocalSampler.sample

    def watching(self: LocalSampler, prompt_ids: Any) -> list[Sampled]:
        found = sample(self, prompt_ids)
        sampled.append((trainer.rollout_worker.version, [list(ids) for ids in prompt_ids], found))
        return found

    monkeypatch.setattr(LocalSampler, "sample", watching)
    send = LocalSampler.send_weights

    def sending(self: LocalSampler, iterator: Any) -> None:
        send(self, iterator)
        weights[len(weights) + 1] = {name: value.detach().clone() for name, value in self.model.named_parameters()}

    monkeypatch.setattr(LocalSampler, "send_weights", sending)
    trainer = make(Recording, max_steps=4, learning_rate=1e-2)
    trainer.train()
    checked = 0
    for version, prompts, found in sampled[:6]:
        for prompt, one in zip(prompts, found, strict=True):
            sequence = torch.tensor([[*prompt, *one.ids]])
            logits = torch.func.functional_call(sampler.model, weights[version], (sequence,)).logits[0]
            logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, sequence[0, len(prompt) :, None])[:, 0]
            torch.testing.assert_close(torch.from_numpy(one.logprobs), logprobs, atol=1e-5, rtol=0)
            checked += 1
    assert checked >= BATCH
    assert {version for version, *_ in sampled} >= {1, 2}


def test_it_logs_the_gap_the_coverage_the_ratio_and_the_age(make):
    trainer = make(Recording, max_steps=2)
    trainer.train()
    (log, _) = trainer.steps
    assert log["coverage"] == 1.0
    assert log["ratio"] == pytest.approx(1.0, abs=1e-4)
    assert log["abs_log_ratio"] == pytest.approx(0.0, abs=1e-4)
    assert log["clipped"] == 0.0
    names = {"teacher_gap", "token_coverage", "stopped", "entropy", "sample/staleness_mean", "sample/staleness_max"}
    assert names <= log.keys()


class Elsewhere:
    """A weight transfer that loses what it is given."""

    def __init__(self, weights: LocalSampler):
        self._weights = weights

    def send_weights(self, iterator: Any) -> None:
        for _ in iterator:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._weights, name)


@pytest.mark.parametrize("max_staleness", [pytest.param(0, marks=pytest.mark.slow), 4])
def test_weights_that_never_arrive_are_noticed(make, sampler, max_staleness):
    """At once, at any age of the samples, at a rate at which the policy has hardly moved."""
    options = {"max_steps": 8, "max_staleness": max_staleness, "lr_scheduler_type": "constant"}
    trainer = make(transfer=Elsewhere(sampler), **options)
    with pytest.raises(FindingError, match="the weights do not reach the engine that samples"):
        trainer.train()
    assert trainer.state.global_step < 4


def test_fresh_samples_of_another_policy_are_noticed(make, sampler, monkeypatch):
    """Also if the engine cannot say what it gives to a prompt, which is warned of."""
    monkeypatch.setattr(LocalSampler, "prompt_logprobs", lambda *_: None)
    trainer = make(transfer=Elsewhere(sampler), max_steps=30, learning_rate=0.3, lr_scheduler_type="constant")
    with pytest.raises(FindingError, match="see whether the weights reach the sampler"):
        trainer.train()
    assert trainer.state.global_step < 30


def test_a_run_goes_on_where_it_was_saved(make, output):
    trainer = make(Recording, max_steps=2, save_strategy="steps", save_steps=2)
    trainer.train()
    checkpoint = output / "checkpoint-2"
    state = json.loads((checkpoint / "rollout_state.json").read_text())
    assert state == {"prompt_index": 2 * BATCH, "model_version": 3}  # sent before the first step, and after each
    again = make(Recording, max_steps=4, max_staleness=1)
    again.train(resume_from_checkpoint=str(checkpoint))
    assert again.state.global_step == 4
    assert len(again.seen) == 2
    assert again._next_prompt == 4 * BATCH
    assert max(int(inputs["staleness"].max()) for _, inputs, _ in again.seen) <= 1
    (checkpoint / "rollout_state.json").unlink()
    with pytest.raises(InputError, match=r"has no rollout_state\.json: it is not a checkpoint of an asynchronous run"):
        make(max_steps=4).train(resume_from_checkpoint=str(checkpoint))


def test_a_trainer_trains_once(make):
    trainer = make(max_steps=1)
    trainer.train()
    with pytest.raises(InputError, match="an AsyncTrainer trains once: make another one"):
        trainer.train()


def test_a_worker_needs_its_pace(worker: RolloutWorker):
    with pytest.raises(InputError, match="the worker has no pace"):
        worker.start()


@pytest.mark.parametrize("accumulated", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_teacher_that_dies_ends_the_run_with_its_last_step_saved(make, worker, output, monkeypatch, accumulated):
    """Samples of the next step that were drawn before it died are no longer in the queue, but not trained on either."""
    score, calls = worker.distiller.score, []

    def dying(*args: Any, **kwargs: Any) -> ScoredBatch:
        calls.append(1)
        if len(calls) > 3:  # two calls a step
            raise TeacherUnavailableError("the teacher is gone")
        return score(*args, **kwargs)

    monkeypatch.setattr(worker.distiller, "score", dying)
    size = BATCH // accumulated
    trainer = make(max_steps=5, per_device_train_batch_size=size, gradient_accumulation_steps=accumulated)
    with pytest.raises(TeacherUnavailableError, match="the teacher is gone"):
        trainer.train()
    assert trainer.state.global_step == 1
    assert json.loads((output / "checkpoint-1" / "rollout_state.json").read_text())["prompt_index"] == BATCH
