"""The page on loops of one's own: its code runs, and does what the trainer does."""

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from crossdistill import InputError
from crossdistill.chat import stop_ids
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.distill import Distiller, ScoredBatch, clipped_policy_loss
from crossdistill.ops import LMHead, last_hidden_states, token_logprobs
from crossdistill.train import CrossTokenizerConfig
from tests.snippets import blocks
from tests.train.harness import RecordingTrainer

PAGE = "docs/own-loop.md"
NUM_PROMPTS = 6
MAX_LINES = 25


@pytest.fixture(scope="module")
def prompts() -> list[Any]:
    return [message(problem) for problem in problems("train", NUM_PROMPTS, seed=5)]


@pytest.fixture(scope="module")
def trainer(prompts: list[Any], tmp_path_factory: pytest.TempPathFactory) -> RecordingTrainer:
    """One step of the trainer on the demo's models."""
    args = CrossTokenizerConfig(
        str(tmp_path_factory.mktemp("trainer")),
        per_device_train_batch_size=NUM_PROMPTS,
        learning_rate=3e-4,
        max_steps=1,
        max_completion_length=48,
        activation_checkpointing=False,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        shuffle_dataset=False,
    )
    rows = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    made = RecordingTrainer(asset("student"), asset("teacher"), args, train_dataset=rows)
    made.train()
    return made


@pytest.fixture(scope="module")
def loop(trainer: RecordingTrainer) -> dict[str, Any]:
    """The names of the page's code after it ran on the trainer's samples in place of samples of its own."""
    (code,) = blocks(PAGE, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= MAX_LINES
    own = "[sample(prompt) for prompt in prompts]"
    assert code.count(own) == 1
    scope: dict[str, Any] = {
        "STUDENT": asset("student"),
        "TEACHER": asset("teacher"),
        "batches": [[item.prompt for item in trainer.scored]],
        "sampled": [item.response.ids.tolist() for item in trainer.scored],
    }
    exec(compile(code.replace(own, "sampled"), PAGE, "exec"), scope)
    return scope


def test_it_has_the_trainers_advantages(trainer: RecordingTrainer, loop: dict[str, Any]) -> None:
    batch: ScoredBatch = loop["batch"]
    assert any(item.advantages.any() for item in trainer.scored)
    for row, item in enumerate(trainer.scored):
        size = len(item.response.ids)
        # shares of a chunk are ratios of small numbers, which rounding moves: the trainer's come from sampling
        np.testing.assert_allclose(batch.advantages[row, :size], item.advantages, atol=1e-3, rtol=0)
        np.testing.assert_array_equal(batch.loss_mask[row, :size], item.mask)
        np.testing.assert_allclose(batch.old_logprobs[row, :size], item.student_logprobs, atol=1e-5, rtol=0)
        assert not batch.loss_mask[row, size:].any()
    assert batch.num_items == sum(item.weight for item in trainer.scored)
    assert batch.coverage.as_dict() == trainer.usage.coverage.as_dict()


def test_it_has_the_trainers_loss(trainer: RecordingTrainer, loop: dict[str, Any]) -> None:
    assert loop["loss"].item() == pytest.approx(trainer.steps[0]["loss"], abs=1e-6)


def test_its_own_sampling_gives_responses(loop: dict[str, Any], prompts: list[Any]) -> None:
    ids = loop["sample"](prompts[0])
    assert 0 < len(ids) <= 48
    assert all(isinstance(token, int) for token in ids)


def states_of_responses(student: Any, distiller: Distiller, batch: ScoredBatch) -> torch.Tensor:
    """[B, C, H], the slow way: one response after the other, the state before each token."""
    width = batch.loss_mask.shape[1]
    rows = []
    for prompt, ids in zip(batch.rollout.prompts, batch.rollout.completion_ids, strict=True):
        prompt_ids = distiller.renderer.render(prompt)
        whole = torch.tensor([[*prompt_ids, *ids]])
        hidden = last_hidden_states(student, whole, torch.ones_like(whole))[0, len(prompt_ids) - 1 : -1]
        rows.append(torch.nn.functional.pad(hidden, (0, 0, 0, width - len(ids))))
    return torch.stack(rows)


def test_all_ways_to_the_loss_agree(loop: dict[str, Any], prompts: list[Any]) -> None:
    student, distiller = loop["student"], loop["distiller"]
    batch = distiller.score(prompts, [loop["sample"](prompt) for prompt in prompts])
    selected = distiller.loss(batch, *distiller.student_states(batch))
    states = states_of_responses(student, distiller, batch)
    whole = distiller.loss(batch, states, LMHead.from_model(student))
    layer = distiller.loss(batch, states, student.get_output_embeddings())
    new = torch.zeros(batch.loss_mask.shape)
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in batch.rollout.completion_ids], batch_first=True)
    chosen = token_logprobs(states[batch.loss_mask], LMHead.from_model(student), ids[batch.loss_mask]).logprobs
    new[batch.loss_mask] = chosen
    pure = clipped_policy_loss(new, batch.old_logprobs, batch.advantages, batch.loss_mask)
    assert selected.item() != 0
    again, _ = distiller.step(prompts, lambda asked: batch.rollout.completion_ids)
    for other in (whole, layer, pure, again * batch.num_items):
        assert other.item() == pytest.approx(selected.item(), rel=1e-5)


def test_log_probabilities_of_an_engine_stand_in_for_the_stop_mass(loop: dict[str, Any], prompts: list[Any]) -> None:
    """Decision 4: the sampled stop's own log-probability, unless the exact mass is given."""
    distiller: Distiller = loop["distiller"]
    completions = [loop["sample"](prompt) for prompt in prompts]
    exact = distiller.score(prompts, completions)
    rows = [row[: len(ids)].tolist() for row, ids in zip(exact.old_logprobs, completions, strict=True)]
    by_rows, by_tensor = (distiller.score(prompts, completions, old) for old in (rows, exact.old_logprobs))
    assert torch.equal(by_rows.advantages, by_tensor.advantages)
    stops = [None if item.response.stop_position is None else -0.125 for item in exact.responses]
    given = distiller.score(prompts, completions, rows, stop_logprobs=stops)
    assert any(stop is not None for stop in stops)
    for row, (item, stand_in, own) in enumerate(zip(exact.responses, by_rows.responses, given.responses, strict=True)):
        end = item.response.stop_position
        text = [k for k in range(len(completions[row])) if k != end]
        torch.testing.assert_close(by_rows.advantages[row, text], exact.advantages[row, text])
        if end is not None:
            theirs = item.teacher.stop_logprob
            assert stand_in.advantages[end] == pytest.approx(theirs - rows[row][end], abs=1e-5)
            assert own.advantages[end] == pytest.approx(theirs + 0.125, abs=1e-5)


def test_without_log_probabilities_a_student_is_needed(loop: dict[str, Any], prompts: list[Any]) -> None:
    distiller = Distiller(loop["tokenizer"], loop["teacher"])
    assert distiller.stop_ids == stop_ids(loop["tokenizer"])
    with pytest.raises(InputError, match="the Distiller has no student and no old_logprobs are given: make it with"):
        distiller.score(prompts[:1], [[5, 6]])
    with pytest.raises(InputError, match="old_logprobs has 1 values for a completion of 2 tokens"):
        distiller.score(prompts[:1], [[5, 6]], [[-1.0]])


def test_given_responses_need_an_objective_that_allows_them(loop: dict[str, Any], prompts: list[Any]) -> None:
    arguments = prompts[:1], [[*loop["distiller"].vocab.encode("nine").ids.tolist(), loop["distiller"].stop_ids[0]]]
    with pytest.raises(InputError, match="objective 'dpca' weighs what the student itself sampled"):
        loop["distiller"].score(*arguments, is_sampled=False)
    alm = Distiller(loop["tokenizer"], loop["teacher"], "alm", student=loop["student"])
    batch = alm.score(*arguments, is_sampled=False)
    assert batch.coverage.share == 1.0
    assert alm.loss(batch, *alm.student_states(batch)).item() > 0
