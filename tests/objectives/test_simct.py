"""The simct loss against its definition, its ablations against the methods they are, and Proposition 1."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import VocabPair, get
from crossdistill.objectives.shared.divergence import DIVERGENCES, Divergence
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import Case, batch, case, equal_case, vocab
from tests.objectives.matrices import Matrices, Spans, assert_equals_oracle, matrices, tiles_of, trained
from tests.oracles import simct as oracle

SEEDS = range(8)


def reference(
    of: Matrices, spans: tuple[Spans, Spans] | None = None, temperature: float = 1.0, **options: object
) -> Tensor:
    ids = of.student_ids, of.teacher_ids
    return oracle.loss(*map(oracle.Side, of.probs(temperature), ids, spans or of.spans, of.names), **options)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize(("seed", "stop_unit", "temperature"), [(0, True, 1.0), (1, False, 1.0), (2, True, 1.7)])
def test_value_and_gradient_equal_the_definition(name, seed, stop_unit, temperature):
    of = case(get("simct", divergence=name, mix=0.3, temperature=temperature), seed=seed, stop_unit=stop_unit)
    assert_equals_oracle(of, partial(reference, name=name, mix=0.3, temperature=temperature))


@pytest.mark.parametrize("elements", [1, 70])
def test_tiles_smaller_than_the_batch_change_nothing(monkeypatch, elements):
    tiles_of(monkeypatch, elements)
    assert_equals_oracle(case(get("simct"), seed=3), reference)


def test_a_case_worked_out_by_hand():
    """The student writes a|b, the teacher reads ab: one chunk, the candidates a, b and the unit."""
    vocabs = VocabPair(vocab([b"a", b"b"]), vocab([b"a", b"b", b"ab"]))
    student = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64).log()
    states = [
        HiddenStates(logits, LMHead(torch.eye(logits.shape[1], dtype=torch.float64))) for logits in (student, teacher)
    ]
    of = Case([batch(vocabs, [0, 1], None, tuple(states))], [student.requires_grad_()], states[0].head, get("simct"))
    unit = math.sqrt(0.5 * 0.75)  # the mean of the log-probabilities; the teacher's is 0.5
    q_student = [score / (1 + unit) for score in (0.5, 0.5, unit)]
    q_teacher = [0.25, 0.25, 0.5]
    value = sum(p * math.log(p / q) for p, q in zip(q_student, q_teacher, strict=True))
    assert of.loss().item() == pytest.approx(value, abs=1e-12)
    assert of.objective.weight(of.batch()) == 1
    assert of.objective.loss(of.inputs()).stats["units"].item() == 1


@pytest.mark.parametrize(
    ("options", "other", "same"),
    [({"unit": False}, "shared_vocab", {}), ({"one_to_one": True}, "strict", {})],
)
@pytest.mark.parametrize("divergence", ["reverse", "jsd"])
def test_ablations_are_the_methods_that_they_leave(options, other, same, divergence):
    of, plain = (case(get(name, divergence=divergence, **o), seed=6) for name, o in (("simct", options), (other, same)))
    assert of.loss().item() == pytest.approx(plain.loss().item(), abs=1e-12)
    assert of.objective.weight(of.batch()) == plain.objective.weight(plain.batch())
    assert of.loss().item() != pytest.approx(case(get("simct", divergence=divergence), seed=6).loss().item())


def merged_spans(of: Case) -> tuple[Spans, Spans]:
    """The spans of `coarsen` = 1: every response is one chunk, and its stop unit another."""
    found, both = of.batch(), matrices(of).spans
    groups = []
    for first, end in zip(found.response_splits[:-1], found.response_splits[1:], strict=True):
        stopped = bool(end > first and found.is_stop[end - 1])
        groups += [range(first, end - stopped)] + ([range(end - 1, end)] if stopped else [])
    return tuple([(side[group[0]][0], side[group[-1]][1]) for group in groups if len(group)] for side in both)


@pytest.mark.parametrize("name", ["reverse", "forward"])
def test_merging_everything_leaves_one_unit_a_response_and_its_stop(name):
    of = case(get("simct", coarsen=1.0, divergence=name), seed=7)
    coarse = merged_spans(of)
    assert of.objective.weight(of.batch()) == len(coarse[0]) == 5
    assert_equals_oracle(of, partial(reference, spans=coarse, name=name))


def test_merging_depends_on_the_seed_and_the_sampled_tokens_alone():
    of = case(get("simct", coarsen=0.5, seed=1), seed=8, lengths=(20, 20))
    others = [case(get("simct", coarsen=0.5, seed=seed), seed=8, lengths=(20, 20)) for seed in (1, 2)]
    assert of.loss().item() == others[0].loss().item()
    assert of.loss().item() != others[1].loss().item()
    chunks = [of.objective.weight(of.batch([k])) for k in (0, 1)]
    assert sum(chunks) == of.objective.weight(of.batch([1, 0]))


def test_about_the_share_of_boundaries_that_is_asked_for_is_merged():
    fine, coarse = (case(get("simct", coarsen=share), seed=9, lengths=(400,), stop_unit=False) for share in (0.0, 0.3))
    before, after = (of.objective.weight(of.batch()) for of in (fine, coarse))
    assert (before - after) / (before - 1) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("seed", SEEDS)
def test_proposition_1_a_coarser_partition_of_the_candidates_tells_less(name, seed):
    """D(q_S || q_T) >= D of both with candidates put together; equal if a group's ratio q_S / q_T is constant."""
    generator = np.random.default_rng(seed)
    sides = [torch.tensor(generator.dirichlet(np.ones(9))) for _ in range(2)]
    groups = torch.tensor(generator.integers(0, 4, size=9))

    def coarse(side):
        kept = groups.unique()
        return torch.stack([side[groups == group].sum() for group in kept])

    fine = Divergence(name, 0.3)(*(side.log()[None] for side in sides))
    less = Divergence(name, 0.3)(*(coarse(side).log()[None] for side in sides))
    assert less < fine
    within = sides[0] / coarse(sides[0])[torch.searchsorted(groups.unique(), groups)]
    teacher = within * coarse(sides[1])[torch.searchsorted(groups.unique(), groups)]
    torch.testing.assert_close(Divergence(name, 0.3)(sides[0].log()[None], teacher.log()[None]), less)


def test_coarser_units_lower_the_sum_on_random_cases():
    sums = [sum(case(get("simct", coarsen=share), seed=seed).loss().item() for seed in SEEDS) for share in (0, 0.5, 1)]
    assert sums[0] > 1.2 * sums[1] > 1.2 * 1.2 * sums[2] > 0


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_teacher_that_rules_out_tokens_of_units_leaves_the_loss_finite(name):
    of = case(get("simct", divergence=name), seed=10)
    leaves = trained(of)
    plain, dense = of.loss(), [part.teacher.dense for part in of.parts]
    bias = dense[0].head.bias.clone()
    bias[[5, 6, 8, 10]] = -math.inf  # `ab`, `aab`, ` b` and `abb`
    masked = LMHead(dense[0].head.weight, bias)
    of.parts = [part.with_teacher(state._replace(head=masked)) for part, state in zip(of.parts, dense, strict=True)]
    loss = of.loss()
    gradients = torch.autograd.grad(loss, leaves)
    assert math.isfinite(loss.item())
    assert loss.item() != pytest.approx(plain.item())
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_units_of_one_model_have_equal_scores():
    of = equal_case(get("simct", coarsen=0.7))
    assert of.objective.loss(of.inputs()).stats["units"].item() > 0
    assert of.loss().item() == pytest.approx(0, abs=1e-12)
    (gradient,) = torch.autograd.grad(of.loss(), of.hidden[:1])
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coarsen": -0.1}, r"lies in \[0, 1\], not -0.1"),
        ({"coarsen": math.nan}, r"lies in \[0, 1\], not nan"),
        ({"seed": -1}, "seed must be >= 0, not -1"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        get("simct", **options)
