"""The head of a model that generates reads contiguous hidden states, wherever this package lets one generate."""

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

from crossdistill.demo.run import asset
from crossdistill.eval.generation.decoding import decode
from crossdistill.eval.generation.row import Row, Settings
from crossdistill.integrations.async_trl.local_sampler import LocalSampler
from crossdistill.ops import contiguous
from crossdistill.teachers.writing import generate_ids
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

PROMPTS = [[1, 2, 3], [4, 5, 6]]
SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}


def rows() -> list[Row]:
    return [Row(number, ids, 3, np.random.default_rng(number)) for number, ids in enumerate(PROMPTS)]


def layouts(model: Any) -> list[bool]:
    """Grows by whether the head's input was contiguous, at each pass."""
    seen: list[bool] = []
    model.get_output_embeddings().register_forward_hook(lambda _, given, out: seen.append(given[0].is_contiguous()))
    return seen


@pytest.mark.parametrize(
    "write",
    [
        lambda model: generate_ids(model, [torch.tensor(ids) for ids in PROMPTS], [7], 3),
        lambda model: LocalSampler(model, [7], 3).sample(PROMPTS),
        lambda model: list(decode(model, rows(), Settings((7,), 0.0, 1.0, batch_tokens=100))),
    ],
    ids=["teacher", "asynchronous", "evaluation"],
)
def test_a_head_reads_contiguous_states(write: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **SIZES)).eval()
    seen = layouts(model)
    model(torch.tensor(PROMPTS), logits_to_keep=1)
    write(model)
    assert seen[0] is False  # what transformers does by itself
    assert len(seen) > 1 and all(seen[1:])
    seen.clear()
    model(torch.tensor(PROMPTS), logits_to_keep=1)
    assert seen == [False]  # nothing stays behind


def test_rollouts_of_a_student_with_adapters_read_contiguous_states(tmp_path: Path) -> None:
    trainer = CrossTokenizerTrainer(
        model=asset("student"),
        teacher=asset("teacher"),
        args=CrossTokenizerConfig(output_dir=str(tmp_path), max_completion_length=3, bf16=False, use_cpu=True),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": "1 + 1"}]}] * 8),
        peft_config=LoraConfig(target_modules="all-linear"),
    )
    seen = layouts(trainer.model)
    trainer.sample([trainer.train_dataset[0]] * 2)
    assert seen and all(seen)


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(contiguous) == (0, 5)
