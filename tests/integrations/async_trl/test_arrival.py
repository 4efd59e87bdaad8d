import numpy as np
import pytest
from transformers import AutoTokenizer

from crossdistill.findings import FindingError
from crossdistill.integrations.async_trl.arrival import MAX_TOKENS, NUM_TEXTS, Arrival, policy_logprobs, texts_of
from tests.integrations.async_trl.conftest import load
from tests.models import MESSAGES

FIRST = np.linspace(-3, -1, 50)
NUMERICS = np.random.default_rng(0).normal(0, 0.05, 50)
"""Of another engine in bfloat16: the same after every update."""


@pytest.mark.parametrize("moved", [1e-4, 0.01, 1.0])
def test_an_engine_that_follows_is_sound(moved):
    arrival = Arrival()
    for step in range(5):
        arrival.judge(FIRST + step * moved, FIRST + step * moved + NUMERICS)


def test_an_engine_that_stands_still_is_noticed_below_its_numerics():
    arrival = Arrival()
    arrival.judge(FIRST, FIRST + NUMERICS)
    arrival.judge(FIRST + 0.001, FIRST + NUMERICS)
    with pytest.raises(FindingError, match=r"have changed by 0\.003 nats a token .* and by 0 in the engine"):
        arrival.judge(FIRST + 0.003, FIRST + NUMERICS)


def test_an_engine_without_numbers_is_noticed():
    arrival = Arrival()
    arrival.judge(FIRST, FIRST)
    with pytest.raises(FindingError, match="by nan in the engine"):
        arrival.judge(FIRST + 1, FIRST * np.nan)


def test_both_sides_read_the_same_texts(pair, sampler):
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    texts = texts_of([tokenizer(prompt[-1]["content"])["input_ids"] for prompt in MESSAGES])
    assert len(texts) > 1
    policy = policy_logprobs(load(pair.student), texts)
    np.testing.assert_allclose(np.concatenate(sampler.prompt_logprobs(texts)), policy, atol=1e-5)


def test_an_engine_that_cannot_be_asked_is_warned_of_once(sampler, monkeypatch, caplog):
    monkeypatch.setattr(type(sampler), "prompt_logprobs", lambda *_: None)
    arrival = Arrival([[1, 2]])
    for _ in range(2):
        arrival.ask(sampler, FIRST)
    (record,) = [one for one in caplog.records if one.name == "crossdistill"]
    assert "weights that do not reach it go unnoticed" in record.getMessage()


def test_texts_are_few_and_short():
    texts = texts_of([[1], *[list(range(300))] * 20])
    assert [len(text) for text in texts] == [MAX_TOKENS] * NUM_TEXTS
