"""A step costs one rollout, one teacher prefill, one forward and one backward pass: counted by torch, as it happens."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from crossdistill.distill.student import collate, supervised_states
from crossdistill.ops import token_logprobs
from tests.models import MESSAGES, Pair
from tests.train.harness import BATCH, RecordingTrainer, make_trainer, watched

TOKENS = 24


def counted(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def trainer_of(pair: Pair, output: Any) -> RecordingTrainer:
    """The head takes about a tenth of the student's products, as in models of practical size."""
    tokenizer = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2}
    torch.manual_seed(0)
    student = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes))
    student.generation_config.eos_token_id = tokenizer.eos_token_id
    options = {"max_steps": 1, "max_completion_length": TOKENS, "activation_checkpointing": False}
    options |= {"generation_kwargs": {"min_new_tokens": TOKENS}, "learning_rate": 1e-4}
    given = {"processing_class": tokenizer}
    return make_trainer(pair, output, student=student, trainer_options=given, prompts=MESSAGES[:BATCH], **options)


@pytest.mark.parametrize("is_rescored", [False, True])
def test_a_step_is_the_sum_of_its_parts(pair: Pair, output: Any, monkeypatch: Any, is_rescored: bool) -> None:
    trainer = trainer_of(pair, output)
    if is_rescored:
        monkeypatch.setattr(trainer, "_watch_of", lambda student: None)
    requests, model = watched(trainer), trainer.model
    whole = counted(trainer.train)
    (prompt_ids,), (scored,) = trainer.prompt_ids, trainer.rollouts
    inputs = collate(prompt_ids, [item.response.ids.tolist() for item in scored], 0)
    assert inputs["completion_ids"].shape == (BATCH, TOKENS)

    def rollout() -> None:
        width = max(map(len, prompt_ids))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in prompt_ids])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompt_ids])
        settings = {"min_new_tokens": TOKENS, "max_new_tokens": TOKENS, "do_sample": True, "top_k": 0}
        with torch.no_grad():
            model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **settings)

    def forward() -> torch.Tensor:
        states = supervised_states(model, inputs, inputs["completion_mask"])
        return token_logprobs(*states, inputs["completion_ids"][inputs["completion_mask"]]).logprobs.sum()

    asked = list(requests)
    parts = {
        "rollout": counted(rollout),
        "teacher": counted(lambda: trainer.teacher.score(asked)),
        "step": counted(lambda: forward().backward()),
    }
    assert min(parts.values()) > 0
    score = counted(lambda: forward().detach())
    beside = (whole - sum(parts.values())) / sum(parts.values())
    assert (0 <= beside < 0.05) != is_rescored
    assert whole == pytest.approx(sum(parts.values()) + is_rescored * score, rel=0.05)
