"""The strict loss against its definition."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import get
from crossdistill.objectives.shared.divergence import DIVERGENCES
from crossdistill.ops import LMHead
from crossdistill.signal import Signal
from tests.objectives.cases import case, equal_case
from tests.objectives.matrices import Matrices, assert_equals_oracle, tiles_of, trained
from tests.oracles import strict as oracle

CHOICES = [{}, *({"top_k": k, "chosen_by": by} for k in (2, 4, 40) for by in ("teacher", "student"))]


def reference(of: Matrices, temperature: float = 1.0, **options: object) -> Tensor:
    pairs = [(ours[0], theirs[0]) for ours, theirs in of.chunks if len(ours) == len(theirs) == 1]
    return oracle.loss(*of.probs(temperature), pairs, of.names, **options)


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize(("name", "seed", "temperature"), [("reverse", 0, 1.0), ("jsd", 1, 1.0), ("forward", 2, 1.7)])
def test_value_and_gradient_equal_the_definition(options, name, seed, temperature):
    of = case(get("strict", divergence=name, temperature=temperature, **options), seed=seed)
    assert_equals_oracle(of, partial(reference, name=name, temperature=temperature, **options))


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("options", [{}, {"top_k": 5}])
def test_every_divergence_without_a_stop_unit(name, options):
    of = case(get("strict", divergence=name, mix=0.2, **options), seed=3, stop_unit=False)
    assert_equals_oracle(of, partial(reference, name=name, mix=0.2, **options))


@pytest.mark.parametrize("options", CHOICES[:4], ids=str)
@pytest.mark.parametrize("elements", [1, 70])
def test_tiles_smaller_than_the_batch_change_nothing(monkeypatch, options, elements):
    tiles_of(monkeypatch, elements)
    assert_equals_oracle(case(get("strict", **options), seed=3), partial(reference, **options))


def test_the_options_decide_the_signal():
    asked = [get("strict", **options) for options in ({}, {"top_k": 8}, {"top_k": 8, "chosen_by": "student"})]
    assert [objective.signal for objective in asked] == [Signal.DENSE, Signal.TOPK, Signal.DENSE]
    assert [objective.top_k for objective in asked] == [0, 8, 8]


def test_only_one_to_one_chunks_have_a_term():
    of = case(get("strict"), seed=5)
    alignment = of.batch().alignment
    assert of.objective.weight(of.batch()) == alignment.is_one_to_one.sum() < alignment.num_chunks
    untouched = set(range(len(of.batch().student.ids))) - set(alignment.student_splits[:-1][alignment.is_one_to_one])
    gradient = torch.cat(torch.autograd.grad(of.loss(), of.hidden, materialize_grads=True, allow_unused=True))
    assert untouched
    assert not gradient[list(untouched)].any()


def test_a_candidate_that_is_named_in_part_has_the_named_part():
    """Student and teacher are one model, and `b` has two ids: of three named tokens one may be half of a candidate."""
    whole, part = (equal_case(get("strict", top_k=k)).loss().item() for k in (13, 3))
    assert whole == pytest.approx(0, abs=1e-12)
    assert 0 < part < 0.5


@pytest.mark.parametrize("options", CHOICES[:5], ids=str)
def test_a_teacher_that_masks_its_vocabulary_leaves_the_loss_finite(options):
    of = case(get("strict", **options), seed=7)
    leaves = trained(of)
    dense = [part.teacher.dense for part in of.parts]
    bias = dense[0].head.bias.clone()
    bias[[0, 3, 4, 9]] = -math.inf  # every id of `b` among them
    masked = LMHead(dense[0].head.weight, bias)
    of.parts = [part.with_teacher(state._replace(head=masked)) for part, state in zip(of.parts, dense, strict=True)]
    loss = of.loss()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    assert math.isfinite(loss.item())
    assert all(gradient.isfinite().all() for gradient in gradients)
    if not options:
        assert loss.item() > 20  # what the teacher rules out costs up to 100 nats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": -1}, "top_k must be at least 2, .* not -1"),
        ({"top_k": 1}, "top_k must be at least 2, or there is nothing to compare"),
        ({"chosen_by": "both"}, "chosen_by one of teacher, student, not 'both'"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        get("strict", **options)
