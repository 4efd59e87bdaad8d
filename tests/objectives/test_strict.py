"""The strict loss against its definition."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import LossInputs, VocabPair, get
from crossdistill.objectives.shared.divergence import DIVERGENCES
from crossdistill.objectives.shared.shared_entries import tail
from crossdistill.ops import HiddenStates, LMHead, tiled_sum
from tests.objectives.byte_prefixes import one_chunk, states_of
from tests.objectives.cases import case, equal_case, vocab, with_signal
from tests.objectives.matrices import Matrices, assert_equals_oracle, tiles_of, trained
from tests.oracles import strict as oracle

CHOICES = [{}, *({"top_k": k, "chosen_by": by} for k in (2, 4, 40) for by in ("teacher", "student"))]
TAILS = [
    {"tail": True},
    *({"tail": True, "top_k": k, "chosen_by": by} for k in (1, 4) for by in ("teacher", "student")),
]
SERVED = [
    {"tail": True, "top_k": k, "chosen_by": "student", "teacher_top_k": m} for k, m in ((1, 1), (4, 2), (2, 4), (40, 5))
]


def reference(of: Matrices, temperature: float = 1.0, **options: object) -> Tensor:
    pairs = [(ours[0], theirs[0]) for ours, theirs in of.chunks if len(ours) == len(theirs) == 1]
    realised = oracle.Realised(of.teacher_ids, of.pair.teacher_stops)
    return oracle.loss(*of.probs(temperature), pairs, of.names, realised, **options)


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize(("name", "seed", "temperature"), [("reverse", 0, 1.0), ("jsd", 1, 1.0), ("forward", 2, 1.7)])
def test_value_and_gradient_equal_the_definition(options, name, seed, temperature):
    of = case(get("strict", divergence=name, temperature=temperature, **options), seed=seed)
    assert_equals_oracle(of, partial(reference, name=name, temperature=temperature, **options))


@pytest.mark.parametrize("options", [*TAILS, *SERVED], ids=str)
@pytest.mark.parametrize(("name", "seed"), [("reverse", 0), ("jsd", 1), ("forward", 2), ("reverse", 3)])
def test_with_a_tail_they_do_too(options, name, seed):
    of = case(get("strict", divergence=name, **options), seed=seed)
    assert_equals_oracle(of, partial(reference, name=name, **options))


@pytest.mark.parametrize("options", [TAILS[0], TAILS[4]], ids=str)
def test_of_whole_distributions_the_tail_is_known_at_any_temperature(options):
    of = case(get("strict", temperature=1.7, **options), seed=2)
    assert_equals_oracle(of, partial(reference, temperature=1.7, **options))


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("options", [{}, {"top_k": 5}, TAILS[3], TAILS[4], SERVED[1]], ids=str)
def test_every_divergence_without_a_stop_unit(name, options):
    of = case(get("strict", divergence=name, mix=0.2, **options), seed=3, stop_unit=False)
    assert_equals_oracle(of, partial(reference, name=name, mix=0.2, **options))


@pytest.mark.parametrize("options", [*CHOICES[:4], *TAILS, *SERVED], ids=str)
@pytest.mark.parametrize("elements", [1, 70])
def test_tiles_smaller_than_the_batch_change_nothing(monkeypatch, options, elements):
    tiles_of(monkeypatch, elements)
    monkeypatch.setattr(tail, "tiled_sum", partial(tiled_sum, tile_elements=elements))
    assert_equals_oracle(case(get("strict", **options), seed=3), partial(reference, **options))


def test_the_options_decide_the_signal():
    by_student = {"top_k": 8, "chosen_by": "student", "tail": True}
    options = ({}, {"top_k": 8}, by_student, {"tail": True}, by_student | {"teacher_top_k": 20})
    asked = [get("strict", **each) for each in options]
    assert [objective.signal.value for objective in asked] == ["dense", "topk", "dense", "dense", "topk"]
    assert [objective.top_k for objective in asked] == [0, 8, 8, 0, 8]
    assert [objective.num_named for objective in asked] == [0, 8, 8, 0, 20]


# ---- the tail --------------------------------------------------------------------------------------------------------

FEW = VocabPair(vocab((b"", b"a", b"b", b"ab", b"ba")), vocab((b"", b"a", b"b", b"aa", b"bb")), (0,), (0,))
"""Shared: `a`, `b` and the stop."""
TEACHER = [0.1, 0.5, 0.2, 0.15, 0.05]


def at_one_chunk(options: dict[str, object], student: list[float], teacher: list[float], token: int = 1) -> LossInputs:
    """A 1:1 chunk at which the student and the teacher have these probabilities; both read `token`."""
    inputs, objective = one_chunk(FEW, [[token], [token]], states_of([student], [teacher])), get("strict", **options)
    return replace(inputs, batch=with_signal(inputs.batch, objective))


def test_the_tail_is_all_that_is_not_chosen_on_both_sides():
    """By hand, KL(S || T). The student's most probable shared entries are `a` and `b`, the teacher's tokens too."""
    student = [0.05, 0.4, 0.3, 0.15, 0.1]
    by_hand = {
        (): [(0.05, 0.1), (0.4, 0.5), (0.3, 0.2), (0.25, 0.2)],
        (("top_k", 1), ("chosen_by", "student")): [(0.4, 0.5), (0.6, 0.5)],
        (("top_k", 2), ("chosen_by", "student")): [(0.4, 0.5), (0.3, 0.2), (0.3, 0.3)],
        (("top_k", 2),): [(0.4, 0.5), (0.3, 0.2), (0.3, 0.3)],
        (("top_k", 3),): [(0.4, 0.5), (0.3, 0.2), (0.3, 0.3)],  # the third is `aa`, which the student lacks
        (("top_k", 2), ("chosen_by", "student"), ("teacher_top_k", 1)): [(0.4, 0.5), (0.6, 0.5)],
    }
    for items, pairs in by_hand.items():
        options = {"tail": True, **dict(items)}
        loss = get("strict", **options).loss(at_one_chunk(options, student, TEACHER))
        assert loss.total.item() == pytest.approx(sum(p * math.log(p / q) for p, q in pairs)), options
        assert loss.stats["tail"].item() == pytest.approx(pairs[-1][0])
        assert loss.stats["teacher_tail"].item() == pytest.approx(pairs[-1][1])


def test_the_realised_token_is_known_whatever_the_teacher_names():
    """It names `a` alone, and the student's choice is `b`, which was written."""
    options = {"tail": True, "top_k": 1, "chosen_by": "student", "teacher_top_k": 1}
    student = [0.1, 0.2, 0.5, 0.1, 0.1]
    written, other = (
        get("strict", **options).loss(at_one_chunk(options, student, TEACHER, token)).total.item() for token in (2, 1)
    )
    assert written == pytest.approx(0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8))
    assert other == pytest.approx(0, abs=1e-12)


def slope(options: dict[str, object], inputs: LossInputs, dtype: torch.dtype = torch.float64) -> Tensor:
    """The gradient at the student's logits, which are its states here."""
    hidden = inputs.student.hidden.to(dtype).requires_grad_()
    head = LMHead(inputs.student.head.weight.to(dtype))
    loss = get("strict", **options).loss(replace(inputs, student=HiddenStates(hidden, head))).total
    return torch.autograd.grad(loss, hidden)[0][0]


MEETING = {"top_k": 2, "chosen_by": "student"}
EACH_TAIL = [{}, {"top_k": 2}, MEETING, MEETING | {"teacher_top_k": 2}]


@pytest.mark.parametrize("options", EACH_TAIL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1e-12, 1 - 1e-12])
def test_the_gradient_passes_through_the_tail(options, dtype, share):
    """However small it is, or the candidates are: KL(T || S) has p - q as its gradient, with q shared by p in the tail.

    With 1 minus a sum in float32 either would be 0, and a clamp would have no gradient.
    """
    student = [min(share, 1 - share) / 10, (1 - share) * 0.6, (1 - share) * 0.4, share / 2, share / 2]
    teacher = [0.01, 0.6, 0.29, 0.03, 0.07]
    asked = options | {"tail": True, "divergence": "forward"}
    found = slope(asked, at_one_chunk(asked, student, teacher), dtype).double()
    p, q = torch.tensor(student).double(), torch.tensor(teacher).double()
    in_tail = torch.tensor([bool(options), False, False, True, True])  # the stop is not among two candidates
    wanted = torch.where(in_tail, p * (1 - q[in_tail].sum() / p[in_tail].sum()), p - q)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert found[in_tail].sum() < -0.09 or found[in_tail].sum() > 0.6


def test_without_a_tail_probability_outside_the_candidates_is_free():
    """With one, a student that has half of its probability there has a gradient that takes it away."""
    student, teacher = [0.01, 0.3, 0.19, 0.3, 0.2], [0.01, 0.59, 0.38, 0.01, 0.01]
    for options in EACH_TAIL:
        asked = options | {"tail": True}
        assert slope(asked, at_one_chunk(asked, student, teacher))[3] > 0.05
    for options in EACH_TAIL[:3]:
        assert slope(options, at_one_chunk(options, student, teacher))[3].abs() < 1e-12


@pytest.mark.parametrize("name", DIVERGENCES)
def test_if_no_ids_meet_all_is_tail_and_the_chunk_counts_with_0(name):
    options = {"tail": True, "top_k": 1, "chosen_by": "student", "teacher_top_k": 1, "divergence": name, "mix": 0.3}
    inputs = at_one_chunk(options, [0.1, 0.2, 0.5, 0.1, 0.1], TEACHER)
    loss = get("strict", **options).loss(inputs)
    assert loss.total.item() == pytest.approx(0, abs=1e-12)
    assert loss.stats["tail"].item() == pytest.approx(1)
    assert loss.stats["teacher_tail"].item() == pytest.approx(1)
    assert not slope(options, inputs).abs().gt(1e-12).any()
    assert get("strict", **options).weight(inputs.batch) == 1


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_fewer_candidates_the_smaller_the_loss(name):
    of = case(get("strict", tail=True), seed=8)
    losses = []
    for options in ({}, *({"top_k": k, "chosen_by": "student"} for k in (5, 3, 2, 1))):
        of.objective = get("strict", tail=True, divergence=name, mix=0.3, **options)
        losses.append(of.loss().item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 0


def test_as_many_as_there_are_is_all_of_them():
    of = case(get("strict", tail=True), seed=6)
    everything = of.loss()
    for options in (
        {"top_k": 1000, "chosen_by": "student"},
        {"top_k": 1000},
        {"top_k": 1000, "chosen_by": "student", "teacher_top_k": 1000},
    ):
        of.objective = get("strict", tail=True, **options)
        torch.testing.assert_close(of.loss(), everything)


@pytest.mark.parametrize("options", EACH_TAIL, ids=str)
def test_a_tail_of_nothing_is_finite(options):
    """Both vocabularies are the same three tokens, and the candidates hold all of the probability."""
    same = VocabPair(vocab((b"", b"a", b"b")), vocab((b"", b"a", b"b")), (0,), (0,))
    asked = options | {"tail": True} | ({"top_k": 3} if "top_k" in options else {})
    asked |= {"teacher_top_k": 3} if "teacher_top_k" in options else {}
    inputs = one_chunk(same, [[1], [1]], states_of([[0.2, 0.5, 0.3]], [[0.1, 0.3, 0.6]]))
    inputs = replace(inputs, batch=with_signal(inputs.batch, get("strict", **asked)))
    loss = get("strict", **asked).loss(inputs)
    expected = 0.2 * math.log(2) + 0.5 * math.log(5 / 3) - 0.3 * math.log(2)
    assert loss.total.item() == pytest.approx(expected)
    assert loss.stats["tail"].item() == pytest.approx(0, abs=1e-30)
    assert loss.stats["teacher_tail"].item() == pytest.approx(0, abs=2e-7)
    assert slope(asked, inputs).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_top_k": -1, "chosen_by": "student", "top_k": 4, "tail": True}, "must be >= 0, not -1"),
        ({"teacher_top_k": 8, "top_k": 4, "tail": True}, "for candidates that the student chooses"),
        ({"teacher_top_k": 8, "chosen_by": "student", "tail": True}, r"set chosen_by = .* and top_k"),
        ({"teacher_top_k": 8, "chosen_by": "student", "top_k": 4}, "unseen: set tail = true"),
        ({"top_k": 4, "tail": True, "temperature": 2.0}, "known at temperature 1 alone, not at 2"),
        (SERVED[0] | {"temperature": 0.5}, r"known at temperature 1 alone, not at 0.5"),
    ],
)
def test_tails_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        get("strict", **options)


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


@pytest.mark.parametrize("options", [*CHOICES[:5], *TAILS, *SERVED], ids=str)
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
