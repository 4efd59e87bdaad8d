"""The old log-probs that sampling leaves behind, against a pass of the student over the whole rollout."""

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from torch.nn.utils.rnn import pad_sequence
from trl import DistillationTrainer

from crossdistill.distill.student import StudentLogprobs, student_logprobs
from tests.models import Pair
from tests.train import tool_use
from tests.train.harness import BATCH, RecordingTrainer, fast_for, make_trainer

Found = list[tuple[StudentLogprobs, StudentLogprobs, bool]]


def compared(trainer: RecordingTrainer) -> Found:
    """From now on, of each batch: its old log-probs, those of a pass, and whether they took one."""
    old_logprobs, found = trainer.old_logprobs, []

    def both(rollout: Any, inputs: Any, stops: Any) -> StudentLogprobs:
        own, is_rescored = old_logprobs(rollout, inputs, stops), trainer.is_rescored
        rows = [[row] for row in range(len(rollout.prompts))]
        found.append((own, student_logprobs(rollout, inputs, stops, rows, trainer._student_forward), is_rescored))
        return own

    trainer.old_logprobs = both  # type: ignore[method-assign]
    return found


def check(found: Found, are_rescored: bool = False) -> None:
    for own, passed, is_rescored in found:
        assert is_rescored == are_rescored
        assert own.tokens
        for ours, theirs in zip(own.tokens, passed.tokens, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)
        assert [stop is None for stop in own.stops] == [stop is None for stop in passed.stops]
        stops = [[stop for stop in side.stops if stop is not None] for side in (own, passed)]
        np.testing.assert_allclose(*stops, atol=2e-5, rtol=0)


LORA = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adapters": {"trainer_options": {"peft_config": LORA}},
    "compared at another temperature": {"objective": "simct", "temperature": 0.5},
    "groups, hot": {"num_generations": 2, "temperature": 1.5},
    "cut": {"top_k": 5, "top_p": 0.8},
    "several steps a rollout": {"num_iterations": 2, "max_steps": 4},
}


@pytest.mark.parametrize("name", fast_for(VARIANTS, ["plain", "adapters", "compared at another temperature"]))
def test_they_are_those_of_a_pass(pair: Pair, output: Any, name: str) -> None:
    trainer = make_trainer(pair, output, max_completion_length=24, **VARIANTS[name])
    found = compared(trainer)
    trainer.train()
    check(found)
    trainer.score_prompts([row["prompt"] for row in trainer.train_dataset])
    assert len(found) == 3
    check(found)
    lengths = {len(row) for own, *_ in found for row in own.tokens}
    assert len(lengths) > 1 and any(stop is not None for own, *_ in found for stop in own.stops)
    assert "student_score" not in trainer.usage.as_dict()["tokens"]


def test_every_turn_of_a_conversation_with_tools_has_its_own(
    pair: Pair, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nine = [{"role": "user", "content": "9?"}]  # which takes no tool
    trainer = tool_use.trainer_with_tools(pair, output, monkeypatch, prompts=[tool_use.QUESTION, nine] * 2)
    say = DistillationTrainer._generate_single_turn

    @torch.no_grad()
    def drawn(self: Any, prompt_ids: list[list[int]], *rest: Any) -> list[list[int]]:
        """What the script says, token by token through the model, as ``generate`` reads what it has drawn."""
        answers = say(self, prompt_ids, *rest)
        left = {"batch_first": True, "padding_side": "left"}
        prompts = pad_sequence([torch.tensor(ids) for ids in prompt_ids], **left)
        mask = pad_sequence([torch.ones(len(ids)) for ids in prompt_ids], **left)
        said = pad_sequence([torch.tensor(ids) for ids in answers], batch_first=True)
        for width in range(said.shape[1]):
            ids = torch.cat([prompts, said[:, :width]], 1)
            self.model(input_ids=ids, attention_mask=torch.cat([mask, torch.ones(len(ids), width)], 1))
        return answers

    monkeypatch.setattr(DistillationTrainer, "_generate_single_turn", drawn)
    found = compared(trainer)
    trainer.train()
    check(found)
    assert [len(own.tokens) for own, *_ in found] == [BATCH * 3 // 2]
    assert all(stop is not None for stop in found[0][0].stops)


@pytest.mark.parametrize("options", [{"prefill_chunk_size": 4}, {"num_beams": 1, "cache_implementation": "static"}])
def test_generation_that_cannot_be_watched_takes_a_pass(pair: Pair, output: Any, options: dict[str, Any]) -> None:
    trainer = make_trainer(pair, output, max_steps=1, generation_kwargs=options)
    found = compared(trainer)
    trainer.train()
    is_rescored = "prefill_chunk_size" in options
    check(found, is_rescored)
    tokens = trainer.usage.as_dict()["tokens"]
    assert tokens.get("student_score") == (tokens["student_rollout"] if is_rescored else None)


def test_what_a_rollout_that_failed_left_behind_is_forgotten(pair: Pair, output: Any) -> None:
    trainer = make_trainer(pair, output, max_steps=1)
    found = compared(trainer)
    rows = [dict(row) for row in trainer.train_dataset]
    trainer.sample(rows)
    for weight in trainer.model.parameters():
        weight.data.mul_(0.5)
    trainer.score_prompts([row["prompt"] for row in rows])
    check(found)
