"""What sampling says of its samples, against one pass over each finished sequence alone, in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from crossdistill.distill.sampled_logprobs import RowLogprobs, SampledLogprobs
from tests import tiny_models
from tests.oracles import logprobs as oracle

PROMPTS = [[7, 5, 1, 2, 30], [4], [8, 6, 25], [31, 32, 33, 34, 35, 36, 37]]
STOPS = [3, 9, 11, 13, 28]
ROUNDING = 2e-5


def generated(model: Any, prompts: Sequence[list[int]] = PROMPTS, **options: Any) -> Tensor:
    """What ``generate`` draws after prompts that are padded on the left, int64 [R, T]."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    settings = {
        "do_sample": True,
        "top_k": 0,
        "max_new_tokens": 12,
        "eos_token_id": STOPS,
        "pad_token_id": 0,
        **options,
    }
    torch.manual_seed(3)
    return model.generate(input_ids=ids, attention_mask=mask, **settings)[:, width:]


def cut(drawn: Tensor) -> list[list[int]]:
    """Each row up to its first stop."""
    return [row[: next((k for k, token in enumerate(row) if token in STOPS), len(row)) + 1] for row in drawn.tolist()]


def watched(model: Any, scored_at: float = 1.0, prompts: Sequence[list[int]] = PROMPTS, **options: Any) -> Any:
    with SampledLogprobs(model, STOPS, scored_at) as sampled:
        completions = cut(generated(model, prompts, **options))
    return completions, sampled.of(prompts, completions)


@torch.no_grad()
def check(model: Any, completions: list[list[int]], found: RowLogprobs | None, scored_at: float = 1.0) -> None:
    assert found is not None
    assert [len(row) for row in found.tokens] == [len(row) for row in found.stops] == list(map(len, completions))
    for prompt, ids, tokens, stops in zip(PROMPTS, completions, *found, strict=True):
        assert tokens.dtype == stops.dtype == np.float32
        logprobs = oracle.log_softmax(model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1], scored_at)
        np.testing.assert_allclose(tokens, logprobs[range(len(ids)), ids], atol=ROUNDING, rtol=0)
        np.testing.assert_allclose(stops, logprobs[:, STOPS].exp().sum(-1).log(), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_it_is_what_a_pass_over_each_sequence_alone_says(name):
    model = tiny_models.build(name)
    completions, found = watched(model)
    check(model, completions, found)
    assert len(set(map(len, completions))) > 1  # rows that end while others go on


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.6},
        {"top_k": 3, "top_p": 0.9},
        {"repetition_penalty": 2.0},
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"do_sample": False},
        {"max_new_tokens": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_whatever_shapes_the_samples_it_is_the_whole_softmax(options):
    model = tiny_models.build("gemma2")
    for scored_at in (1.0, 0.6):
        check(model, *watched(model, scored_at, **options, disable_compile=True), scored_at)


def test_a_model_with_adapters():
    torch.manual_seed(1)
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(tiny_models.build("llama"), lora).eval()
    check(model, *watched(model))
    assert not model.get_base_model()._forward_hooks


def test_further_passes_are_ignored():
    """A process makes them while others still draw, and an accelerator before it hears that all rows have ended."""
    model = tiny_models.build("llama")
    with SampledLogprobs(model, STOPS, 1.0) as sampled:
        drawn = generated(model)
        for _ in range(2):
            model(input_ids=drawn[:, -1:])
    completions = cut(drawn)
    check(model, completions, sampled.of(PROMPTS, completions))


@pytest.mark.parametrize("use_cache", [True, False])
def test_one_step_of_logits_is_held_and_a_few_numbers_of_each_pass(use_cache):
    model = tiny_models.build("llama")
    held: list[int] = []
    bytes_of_pass = 8 * len(PROMPTS)

    def count(*_: Any) -> None:
        tensors = [value for value in vars(sampled).values() if isinstance(value, Tensor)]
        lists = [one for value in vars(sampled).values() if isinstance(value, list) for one in value]
        held.append(sum(one.numel() for one in tensors))
        assert all(one.untyped_storage().nbytes() <= bytes_of_pass for one in lists if isinstance(one, Tensor))

    with SampledLogprobs(model, STOPS, 1.0) as sampled:
        model.register_forward_pre_hook(count)
        generated(model, use_cache=use_cache)
    assert len(held) > 2 and set(held[1:]) == {len(PROMPTS) * model.config.vocab_size}


# ---- what cannot be told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 2}, {"prefill_chunk_size": 3}, {"prompt_lookup_num_tokens": 2, "prompts": PROMPTS[:1]}],
    ids=lambda options: next(iter(options)),
)
def test_other_ways_to_generate_are_not_taken_for_plain_sampling(options):
    assert watched(tiny_models.build("llama"), **options)[1] is None


def test_what_is_compiled_is_not_seen(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert watched(tiny_models.build("llama"))[1] is None


@pytest.mark.parametrize(
    ("prompts", "change"),
    [
        ([*PROMPTS[:3], [0, *PROMPTS[3]]], lambda rows: rows),  # a longer prompt than was read
        ([*PROMPTS[:3], [*PROMPTS[3][:-1], 0]], lambda rows: rows),  # another one
        (PROMPTS, lambda rows: [[(rows[0][0] + 1) % 40, *rows[0][1:]], *rows[1:]]),  # another token
        (PROMPTS, lambda rows: [[*row, *[0] * 12] for row in rows]),  # more tokens than passes
        (PROMPTS[:3], lambda rows: rows[:3]),
        (PROMPTS, lambda rows: [[] for _ in rows]),
    ],
)
def test_nothing_is_said_of_other_responses(prompts, change):
    model = tiny_models.build("llama")
    with SampledLogprobs(model, STOPS, 1.0) as sampled:
        completions = cut(generated(model))
    assert all(map(len, completions))
    assert sampled.of(prompts, change(completions)) is None


def test_a_pass_that_reads_two_tokens_is_not_one_token_of_a_response():
    model = tiny_models.build("llama")
    with SampledLogprobs(model, STOPS, 1.0) as sampled, torch.no_grad():
        for ids in ([1, 2, 4], [5, 6], [7]):
            model(input_ids=torch.tensor([ids]))
    assert sampled.of([[1, 2, 4]], [[6, 7]]) is None


def test_nothing_was_seen():
    assert SampledLogprobs(tiny_models.build("llama"), STOPS, 1.0).of([[1]], [[2]]) is None
