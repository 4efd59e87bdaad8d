"""The shared_vocab loss against its definition."""

import math
import re
from functools import partial

import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import VocabPair, get
from crossdistill.objectives.shared.divergence import DIVERGENCES
from crossdistill.signal import Signal
from tests.objectives.cases import case, vocab
from tests.objectives.matrices import Matrices, assert_equals_oracle, tiles_of, trained
from tests.oracles import shared_vocab as oracle


def reference(of: Matrices, temperature: float = 1.0, **options: object) -> Tensor:
    return oracle.loss(*of.probs(temperature), of.starts, of.names, **options)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize(("seed", "stop_unit", "temperature"), [(0, True, 1.0), (1, False, 1.0), (2, True, 1.7)])
def test_value_and_gradient_equal_the_definition(name, seed, stop_unit, temperature):
    objective = get("shared_vocab", divergence=name, mix=0.3, temperature=temperature)
    of = case(objective, seed=seed, stop_unit=stop_unit)
    assert_equals_oracle(of, partial(reference, name=name, mix=0.3, temperature=temperature))


@pytest.mark.parametrize("elements", [1, 70])
def test_tiles_smaller_than_the_batch_change_nothing(monkeypatch, elements):
    tiles_of(monkeypatch, elements)
    assert_equals_oracle(case(get("shared_vocab"), seed=3), reference)


def test_every_chunk_has_a_term_and_the_weight_counts_them():
    of = case(get("shared_vocab"), seed=4)
    assert of.objective.weight(of.batch()) == of.batch().alignment.num_chunks
    assert of.objective.signal is Signal.DENSE


def test_two_vocabularies_that_share_nothing_are_refused():
    pair = VocabPair(vocab([b"a", b"b"]), vocab([b"c"]))
    with pytest.raises(InputError, match="'shared_vocab' compares the tokens that both vocabularies have"):
        get("shared_vocab").check(pair)
    get("shared_vocab").check(VocabPair(vocab([b"a"]), vocab([b"c", b"a"])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "kl"}, "there is no divergence 'kl'; choose one of reverse, forward"),
        ({"mix": 1.5}, "lies in [0, 1], not 1.5"),
        ({"temperature": 0.0}, "temperature must be a finite number > 0, not 0.0"),
        ({"temperature": math.nan}, "temperature must be a finite number > 0, not nan"),
        ({"temperature": math.inf}, "temperature must be a finite number > 0, not inf"),
    ],
)
@pytest.mark.parametrize("name", ["shared_vocab", "simct", "strict"])
def test_values_that_cannot_work_are_refused(name, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        get(name, **options)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_large_logits_stay_finite(scale):
    of = case(get("shared_vocab"), seed=5)
    leaves = trained(of)
    with torch.no_grad():
        of.head.weight.mul_(scale)
    of.head = type(of.head)(of.head.weight, of.head.bias)  # no soft cap
    loss = of.loss()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    assert math.isfinite(loss.item())
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients)
