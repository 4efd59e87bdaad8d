"""Responses in a batch that changes, against one response at a time and against ``generate``."""

from collections import deque

import numpy as np
import pytest
import torch

from crossdistill.eval.generation import LocalGenerator, Wanted
from crossdistill.eval.generation.decoding import Batch, decode
from crossdistill.eval.generation.row import Row, Settings
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.teachers.writing import write_responses
from tests import tiny_models
from tests.architectures.tiny import build
from tests.models import MESSAGES, student_model, student_tokenizer, teacher_model, teacher_tokenizer

PROBLEMS = [Problem(f"p{k}", message, None) for k, message in enumerate(MESSAGES)]
SAMPLED = Sampling(k=3, temperature=1.0, top_p=0.9, max_tokens=24, seed=5)
ARCHITECTURES = ("llama", "gemma2", "gemma3", "gpt2", "tied_qwen", "phi")


@pytest.fixture(scope="module")
def student():
    tokenizer = student_tokenizer()
    return student_model(tokenizer), tokenizer


def wanted_of(sampling: Sampling) -> list[Wanted]:
    return [Wanted(problem, index) for problem in PROBLEMS for index in range(sampling.k)]


def written(student, sampling: Sampling, batch_tokens: int, wanted: list[Wanted] | None = None) -> dict:
    generator = LocalGenerator(*student, batch_tokens)
    found = list(generator.write(wanted_of(sampling) if wanted is None else wanted, sampling))
    samples = {(one.wanted.problem.id, one.wanted.index): one for one in found}
    assert len(samples) == len(found)
    return {key: (one.response, one.finish_reason, one.tokens) for key, one in samples.items()}


def test_greedy_is_what_write_responses_writes(student):
    model, tokenizer = student
    expected = list(write_responses(model, tokenizer, MESSAGES, 24))
    found = written(student, Sampling(max_tokens=24), 10_000)
    assert [found[problem.id, 0] for problem in PROBLEMS] == [
        (one.text, "stop" if one.stopped else "length", one.num_tokens) for one in expected
    ]
    assert {one.stopped for one in expected} == {True, False}


@pytest.mark.parametrize("batch_tokens", [1, 120, 200, 500])
def test_a_response_does_not_depend_on_its_batch(student, batch_tokens):
    assert written(student, SAMPLED, batch_tokens) == written(student, SAMPLED, 100_000)


def test_a_response_does_not_depend_on_what_is_missing(student):
    """An evaluation that is resumed writes what it would have written."""
    whole = written(student, SAMPLED, 400)
    some = wanted_of(SAMPLED)[1::4]
    assert written(student, SAMPLED, 400, some) == {
        (one.problem.id, one.index): whole[one.problem.id, one.index] for one in some
    }


def test_samples_and_seeds_differ(student):
    found = written(student, SAMPLED, 10_000)
    assert all(len({found[problem.id, index] for index in range(3)}) > 1 for problem in PROBLEMS)
    assert found != written(student, Sampling(**{**vars(SAMPLED), "seed": 6}), 10_000)


def test_a_teacher_with_another_template():
    tokenizer = teacher_tokenizer()
    model = teacher_model(tokenizer)
    expected = list(write_responses(model, tokenizer, MESSAGES, 20))
    found = written((model, tokenizer), Sampling(max_tokens=20), 150)
    assert [found[problem.id, 0][0] for problem in PROBLEMS] == [one.text for one in expected]


def test_the_models_own_defaults_have_no_effect(student):
    model, _ = student
    before = written(student, Sampling(max_tokens=24), 10_000)
    model.generation_config.repetition_penalty, model.generation_config.min_new_tokens = 5.0, 20
    try:
        assert written(student, Sampling(max_tokens=24), 10_000) == before
    finally:
        model.generation_config.repetition_penalty = model.generation_config.min_new_tokens = None


def test_no_shared_random_numbers(student):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    written(student, SAMPLED, 300)
    assert torch.equal(torch.rand(1), expected)


# ---- architectures --------------------------------------------------------------------------------------------------


def rows(vocab_size: int, limit: int = 20) -> list[Row]:
    rng = np.random.default_rng(1)
    prompts = [rng.integers(1, vocab_size, size=length).tolist() for length in (3, 9, 30, 5, 5, 14, 2)]
    return [Row(k, prompt, limit - 2 * k, np.random.default_rng(k)) for k, prompt in enumerate(prompts)]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_enter_and_leave_as_if_they_were_alone(name, temperature):
    model = tiny_models.build(name)
    settings = {"stops": (0, 7), "temperature": temperature, "top_p": 1.0}
    alone = {row.number: row.ids for row in decode(model, rows(40), Settings(batch_tokens=1, **settings))}
    for batch_tokens in (90, 130, 10_000):
        found = {
            row.number: row.ids for row in decode(model, rows(40), Settings(batch_tokens=batch_tokens, **settings))
        }
        assert found == alone
    assert len({len(ids) for ids in alone.values()}) > 2


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_one_row_is_what_generate_writes(name):
    model = tiny_models.build(name)
    for row in decode(model, rows(40), Settings((0, 7), 0.0, 1.0, batch_tokens=100)):
        ids = torch.tensor([list(row.prompt)])
        expected = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=row.limit, do_sample=False,
            eos_token_id=[0, 7], pad_token_id=0,
        )  # fmt: skip
        assert row.ids == expected[0, len(row.prompt) :].tolist()


@pytest.mark.parametrize("name", ["mamba", "jamba", "rwkv"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_models_with_a_recurrent_state(name, temperature):
    """They are decoded by ``generate``; RWKV one at a time."""
    model = build(name, {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}).eval()
    settings = {"stops": (2, 7), "temperature": temperature, "top_p": 1.0}
    alone = {row.number: row.ids for row in decode(model, rows(60), Settings(batch_tokens=1, **settings))}
    found = {row.number: row.ids for row in decode(model, rows(60), Settings(batch_tokens=10_000, **settings))}
    assert found == alone
    assert all(len(row.prompt) + len(alone[row.number]) <= row.room for row in rows(60))
    assert len({tuple(ids) for ids in alone.values()}) > 1


# ---- the batch ------------------------------------------------------------------------------------------------------


def test_a_finished_row_leaves_at_once_and_a_waiting_one_enters():
    model = tiny_models.build("llama")
    waiting = deque(Row(k, [1, 2, 3], limit, np.random.default_rng(k)) for k, limit in enumerate((2, 8, 8, 8, 4, 4)))
    batch = Batch(model, Settings((), 0.0, 1.0, batch_tokens=4 * 11))
    with torch.no_grad():
        sizes = []
        while waiting or batch.rows:
            batch.enter(waiting)
            sizes.append(len(batch.rows))
            batch.step()
    assert sizes == [4] * 8 + [1] * 2


def test_samples_of_a_prompt_share_its_reading(monkeypatch):
    model = tiny_models.build("llama")
    read: list[int] = []
    forward = Batch._forward
    monkeypatch.setattr(
        Batch, "_forward", lambda self, ids, mask, cache: read.append(ids.numel()) or forward(self, ids, mask, cache)
    )
    prompt = [1, 2, 3, 4, 5]
    list(decode(model, [Row(k, prompt, 1, np.random.default_rng(k)) for k in range(6)], Settings((), 1.0, 1.0, 1000)))
    assert read == [len(prompt)]


def test_padding_is_taken_away():
    """A batch that others enter for a long time does not grow without end."""
    model, longest = tiny_models.build("llama"), 0
    waiting = deque(Row(k, [1] * (3 + k % 5), 4 + k % 7, np.random.default_rng(k)) for k in range(40))
    batch = Batch(model, Settings((), 0.0, 1.0, batch_tokens=60))
    with torch.no_grad():
        while waiting or batch.rows:
            batch.enter(waiting)
            longest = max(longest, batch._mask.shape[1])
            batch.step()
    assert longest <= 17
