"""The next token of a response."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.errors import InputError
from crossdistill.eval.generation import choice
from crossdistill.eval.generation.choice import choose, generator_of, nucleus
from tests.oracles import scores as oracle

WEIGHTS = st.lists(st.integers(1, 1000), min_size=2, max_size=12, unique=True)


def normalised(weights: list[int]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


@given(WEIGHTS, st.floats(0, 0.999), st.floats(0.05, 1.0))
def test_the_token_is_that_of_the_definition(weights, uniform, top_p):
    probabilities = normalised(weights)
    kept = oracle.nucleus(probabilities, top_p) if top_p < 1 else probabilities
    found = int(choose(torch.tensor([probabilities]).log(), 1.0, top_p, [uniform]))
    sums = np.cumsum(kept) / sum(kept)
    near = [token for token in (found, oracle.inverse(kept, uniform)) if kept[token] == 0]
    edge = min(abs(sums - uniform)) < 1e-5 or min(abs(np.cumsum(sorted(probabilities)[::-1]) - top_p)) < 1e-5
    assert edge or (not near and found == oracle.inverse(kept, uniform))


def test_shares_of_tokens_are_their_probabilities():
    probabilities = torch.tensor([0.05, 0.4, 0.0, 0.3, 0.25])
    uniforms = [(k + 0.5) / 2000 for k in range(2000)]
    chosen = choose(probabilities.log().expand(2000, -1), 1.0, 1.0, uniforms)
    assert torch.allclose(chosen.bincount(minlength=5) / 2000, probabilities, atol=1e-3)


def test_temperature_sharpens():
    logits = torch.tensor([[0.0, 1.0]]).expand(1000, -1)
    uniforms = [(k + 0.5) / 1000 for k in range(1000)]
    chosen = choose(logits, 0.5, 1.0, uniforms)
    assert chosen.float().mean().item() == pytest.approx(1 / (1 + np.exp(-2.0)), abs=2e-3)


def test_no_uniform_number_leaves_the_vocabulary():
    logits = torch.full((2, 7), -30.0)
    logits[:, 3] = 0.0
    assert choose(logits, 1.0, 1.0, [0.0, float(np.nextafter(1, 0))]).max() < 7
    assert choose(logits, 1.0, 0.9, [0.0, float(np.nextafter(1, 0))]).tolist() == [3, 3]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.9)])
def test_logits_that_are_no_numbers_are_refused(wrong, temperature, top_p):
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, wrong, 2.0]])
    with pytest.raises(InputError, match="its logits are not finite"):
        choose(logits, temperature, top_p, [0.5, 0.5])


def test_a_flat_nucleus_is_found_by_sorting(monkeypatch):
    probabilities = torch.tensor([normalised(list(range(1, 21)))])
    expected = nucleus(probabilities, 0.9)
    monkeypatch.setattr(choice, "_MOST_LIKELY", 2)
    assert torch.equal(nucleus(probabilities, 0.9), expected)


def test_random_numbers_are_of_the_sample_alone():
    draws = {
        (seed, name, index): generator_of(seed, name, index).random()
        for seed in (0, 1)
        for name in "ab"
        for index in (0, 1)
    }
    assert len(set(draws.values())) == 8
    assert draws == {key: generator_of(*key).random() for key in reversed(draws)}
