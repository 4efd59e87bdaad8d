"""Credit by byte-prefix marginals against its definition."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from crossdistill import InputError
from crossdistill.credit import assign_credit, batch_credit, chunk_sums
from crossdistill.objectives import AlignedBatch, get
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.shared.bytewise import prefix_probabilities
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.ops import TopLogprobs
from crossdistill.signal import Signal
from tests.objectives.byte_prefixes import LETTERS, logits, one_chunk, responses, states_of, text_of
from tests.objectives.cases import case, equal_case, pair
from tests.oracles import bpm as oracle

SEEDS = [0, 2, 4]
BY_HAND = [[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [[0.1, 0.2, 0.4, 0.1, 0.2]]
"""Of the student, which wrote `a` and `b`, and of the teacher, which reads `ab`."""
ALL = TopLogprobs(torch.arange(5)[None], torch.tensor(BY_HAND[1]).log())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stop_unit", [True, False])
def test_scores_equal_the_definition(seed, stop_unit):
    whole = case(DPCA(credit="marginal"), seed=seed, stop_unit=stop_unit)
    inside = 0
    for k in responses(whole):
        part = whole.parts[k]
        expected = torch.tensor(oracle.scores(text_of(part), logits(whole, k)[1]), dtype=torch.float64)
        torch.testing.assert_close(batch_credit(part, "marginal"), expected - part.student.logprobs)
        inside += len(TokenOffsets.of(part).inner)
    assert inside > 2  # some scores are not those of whole tokens


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_k": 1}])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_advantages_of_a_chunk_add_up_to_its_log_ratio(options, seed):
    batch = case(DPCA(credit="marginal", **options), seed=seed).batch()
    student = chunk_sums(batch.student.logprobs, batch.student_splits)
    teacher = chunk_sums(batch.teacher.logprobs, batch.teacher_splits)
    torch.testing.assert_close(chunk_sums(batch_credit(batch, "marginal"), batch.student_splits), teacher - student)


def test_small_tiles_give_the_same(monkeypatch):
    batch = case(DPCA(credit="marginal"), seed=4).batch()
    expected = batch_credit(batch, "marginal")
    monkeypatch.setattr(prefix_probabilities.dense_prefix_logprobs, "__defaults__", (1.0, 8))  # one row, one query
    torch.testing.assert_close(batch_credit(batch, "marginal"), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_top_k_gives_bounds_that_close_with_k(seed):
    """Of the mass of the bytes up to the end of each token, from the first of its chunk."""
    bounds = []
    for k in (1, 3, 6, len(pair().teacher)):
        batch = case(DPCA(credit="marginal", top_k=k), seed=seed).batch()
        bounds.append(prefix_scores(batch, batch_credit(batch, "marginal")))
    exact = case(DPCA(credit="marginal"), seed=seed).batch()
    bounds.append(prefix_scores(exact, batch_credit(exact, "marginal")))
    for lower, upper in itertools.pairwise(bounds):
        assert (lower <= upper + 1e-9).all()
    assert (bounds[0] < bounds[-1] - 1e-3).any()
    torch.testing.assert_close(bounds[-2], bounds[-1])
    realised = chunk_sums(exact.teacher.logprobs, exact.teacher_splits)[torch.as_tensor(TokenOffsets.of(exact).chunks)]
    assert (bounds[0] >= realised - 1e-9).all()  # a chunk's bytes are never more probable than their beginning


def prefix_scores(batch: AlignedBatch, credit: torch.Tensor) -> torch.Tensor:
    """Sums of the scores from the start of the chunk up to each token."""
    scores = credit + batch.student.logprobs
    sums = scores.cumsum(0)
    before = torch.cat([sums.new_zeros(1), sums])[batch.student_splits[:-1]]
    return sums - before[torch.as_tensor(TokenOffsets.of(batch).chunks)]


def test_by_hand():
    """The teacher reads `ab` with 0.4, and begins with `a` with 0.2 + 0.4; the student wrote `a` and `b`."""
    states = states_of(*BY_HAND)
    batch = one_chunk(LETTERS, [[1, 2], [2]], states).batch
    expected = [math.log(0.6 / 0.5), math.log(0.4 / 0.6 / 0.6)]
    assert batch_credit(batch, "marginal").tolist() == pytest.approx(expected)
    assert DPCA(credit="marginal").advantages(batch).tolist() == pytest.approx(expected)
    bounded = DPCA(credit="marginal", max_advantage=0.1)
    assert bounded.bounded(bounded.advantages(batch)).tolist() == pytest.approx([0.1, 0.1])


def test_where_text_was_rewritten_the_semantic_prior_credits():
    states = states_of(*BY_HAND)
    batch = one_chunk(LETTERS, [[1, 2], [2]], states).batch
    other = replace(batch, teacher=replace(batch.teacher, ids=torch.tensor([3])))  # the bytes of `b` are not `ab`
    prior = assign_credit(batch.student.logprobs, batch.teacher.logprobs, batch.alignment)
    torch.testing.assert_close(batch_credit(other, "marginal"), prior)
    assert (batch_credit(batch, "marginal") - prior).abs().max() > 0.01


def test_a_text_that_the_teacher_rules_out_is_bounded():
    """Its first bytes are credited by what the teacher allows; the last token takes the whole loss."""
    student, teacher = states_of(*BY_HAND)
    masked = teacher._replace(head=replace(teacher.head, bias=torch.tensor([0, 0, -torch.inf, 0, 0]).double()))
    batch = one_chunk(LETTERS, [[1, 2], [2]], (student, masked)).batch
    objective = DPCA(credit="marginal")
    advantages = objective.bounded(objective.advantages(batch))
    assert advantages.tolist() == pytest.approx([math.log(0.2 / 0.6 / 0.5), -10])


def test_where_no_token_begins_like_the_text_its_first_byte_takes_the_loss():
    student, teacher = states_of(*BY_HAND)
    bias = torch.tensor([0, -torch.inf, -torch.inf, 0, 0]).double()
    masked = teacher._replace(head=replace(teacher.head, bias=bias))
    batch = one_chunk(LETTERS, [[1, 2], [2]], (student, masked)).batch
    objective = DPCA(credit="marginal")
    assert objective.bounded(objective.advantages(batch)).tolist() == pytest.approx([-10, -math.log(0.6)])


@pytest.mark.parametrize("ruled_out", [False, True])
def test_a_long_text_is_credited_as_a_short_one(ruled_out):
    """In float32, in which sums over all of it would round; also after a token that the teacher rules out."""
    short = one_chunk(LETTERS, [[1, 2], [2]], states_of(*BY_HAND)).batch
    long = AlignedBatch.concatenate([short.with_teacher(topk=ALL)] * 3000)
    logprobs = long.teacher.logprobs.float()
    logprobs[0] = -torch.inf if ruled_out else logprobs[0]
    student = replace(long.student, logprobs=long.student.logprobs.float())
    narrow = replace(long, student=student, teacher=replace(long.teacher, logprobs=logprobs))
    expected = torch.tensor([math.log(0.6 / 0.5), math.log(0.4 / 0.6 / 0.6)]).repeat(2999)
    torch.testing.assert_close(batch_credit(narrow, "marginal")[2:], expected, atol=1e-6, rtol=0)


def test_a_small_probability_is_not_taken_for_an_impossible_one():
    rows = [[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [[0.1, 0.2, 1e-30, 0.1, 0.6]]
    batch = one_chunk(LETTERS, [[1, 2], [2]], states_of(*rows)).batch
    assert batch_credit(batch, "marginal")[1].item() == pytest.approx(math.log(1e-30 / 0.2 / 0.6))


def test_no_token_is_more_than_certain():
    """The realised log-probability, from another product, may round to more than that of the bytes it begins with."""
    student, teacher = states_of(*BY_HAND)
    alone = teacher._replace(head=replace(teacher.head, bias=torch.tensor([0, -torch.inf, 0, 0, 0]).double()))
    batch = one_chunk(LETTERS, [[1, 2], [2]], (student, alone)).batch
    rounded = replace(batch, teacher=replace(batch.teacher, logprobs=batch.teacher.logprobs + 1e-3))
    assert batch_credit(rounded, "marginal")[1].item() == pytest.approx(-math.log(0.6), abs=1e-9)


def test_student_and_teacher_alike_give_nothing():
    batch = equal_case(DPCA(credit="marginal")).batch()
    torch.testing.assert_close(batch_credit(batch, "marginal"), torch.zeros_like(batch.student.logprobs))


def test_what_it_needs():
    dense, topk = get("dpca", credit="marginal"), get("dpca", credit="marginal", top_k=8)
    assert (dense.signal, dense.loss_signal) == (Signal.DENSE, Signal.SAMPLED)
    assert (topk.signal, topk.top_k, topk.loss_signal) == (Signal.TOPK, 8, Signal.SAMPLED)
    for options in ({"top_k": 8}, {"credit": "marginal", "top_k": -1}):
        with pytest.raises(InputError, match="top_k, for a credit that reads the teacher's distribution"):
            DPCA(**options)
