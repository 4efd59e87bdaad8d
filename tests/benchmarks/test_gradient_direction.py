"""Direction and resting point of objectives on languages that can be enumerated (docs/causes.md)."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.causes.exact import Expected, ToyPair, cosine, full_returns
from benchmarks.causes.language import STOP, VOCABULARIES, Source, Table, free_table, table_of, texts
from benchmarks.causes.methods import method
from benchmarks.causes.toy import agreement, direction, pairs
from crossdistill.objectives import AlignedBatch, LossInputs, get
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import with_signal

LONGEST = 3
ROUNDING = 1e-9
KINDS = tuple(VOCABULARIES)


def drawn(kind: str, seed: int = 0, longest: int = LONGEST) -> ToyPair:
    generator = torch.Generator().manual_seed(seed)
    source = Source.drawn(longest, generator)
    ours, theirs = VOCABULARIES[kind]
    return ToyPair.of(table_of(source.near(0.5, generator), ours), table_of(source, theirs), longest)


# ---- the instrument ------------------------------------------------------------------------------------------------


def test_probabilities_of_a_source_are_those_of_a_walk():
    source = Source.drawn(2, torch.Generator().manual_seed(1))
    rows = dict(zip(texts(2), source.logits.softmax(-1).tolist(), strict=True))
    found = source.probabilities()
    assert sum(found.values()) == pytest.approx(1)
    assert found[b""] == pytest.approx(rows[b""][2])
    assert found[b"b"] == pytest.approx(rows[b""][1] * rows[b"b"][2])
    assert found[b"ba"] == pytest.approx(rows[b""][1] * rows[b"b"][0])


@pytest.mark.parametrize("pieces", [sides[0] for sides in VOCABULARIES.values()])
def test_a_model_gives_texts_their_probabilities_in_any_vocabulary(pieces):
    source = Source.drawn(LONGEST, torch.Generator().manual_seed(2))
    made = table_of(source, pieces)
    pair = ToyPair.of(made, made, LONGEST)
    for one, log_p in zip(pair.spellings, pair.logprobs(made.logits).tolist(), strict=True):
        assert math.exp(log_p) == pytest.approx(source.probabilities()[one.text], abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_log_ratio_at_each_token_has_the_direction_of_the_target(kind):
    """So enumeration, masks and the target fit together."""
    pair = drawn(kind)
    target = pair.gradient_of("reverse_kl", pair.student.logits)
    assert cosine(full_returns(pair, pair.student.logits), target) == pytest.approx(1, abs=ROUNDING)


@pytest.mark.parametrize("kind", ["finer", "coarser", "mixed"])
def test_gvpo_over_all_pairs_of_texts_is_the_target_itself(kind):
    """Without any alignment: the expectation of its gradient over groups of two."""
    pair, objective = drawn(kind, longest=2), get("gvpo")
    logits = pair.student.logits
    head = LMHead(torch.eye(logits.shape[1], dtype=torch.float64))
    probabilities, total = pair.logprobs(logits).exp(), torch.zeros_like(logits)
    for one, other in itertools.product(range(len(pair.spellings)), repeat=2):
        leaf = logits.clone().requires_grad_()
        aligned = AlignedBatch.concatenate([pair.parts[one], pair.parts[other]])
        aligned = replace(aligned, groups=ResponseGroups.of([0, 0]))
        rows = torch.cat([pair.rows[pair.owners == number] for number in (one, other)])
        inputs = LossInputs(aligned, objective.advantages(aligned), HiddenStates(leaf[rows], head))
        (found,) = torch.autograd.grad(objective.loss(inputs).total / objective.weight(aligned), leaf)
        total += probabilities[one] * probabilities[other] * found
    target = pair.gradient_of("reverse_kl", logits) * pair.mean_tokens(logits)
    torch.testing.assert_close(total.masked_fill(~pair.student.can_follow, 0), target, rtol=1e-6, atol=1e-8)


def test_spellings_that_are_summed_over_have_less_divergence_left_to_the_tokens():
    """KL over texts exceeds that over sampled spellings by the entropy of the spelling."""
    generator = torch.Generator().manual_seed(3)
    ours, theirs = VOCABULARIES["coarser"]
    teacher = table_of(Source.drawn(LONGEST, generator), theirs)
    pair = ToyPair.of(free_table(LONGEST, ours, generator), teacher, LONGEST, free=True)
    logits = pair.student.logits
    assert pair.logprobs(logits).exp().sum() == pytest.approx(1)
    assert pair.reverse_kl(logits) > pair.reverse_kl_of_spellings(logits) + 0.01


@pytest.mark.parametrize("name", ["dpca", "bpm", "shared_vocab", "multilevel_ot", "cdm", "alm"])
def test_the_expectation_is_that_of_one_response_after_the_other(name):
    """The slow twin: the loss of each spelling alone, by its probability."""
    pair, objective = drawn("mixed"), method(name)
    logits = pair.student.logits
    head = LMHead(torch.eye(logits.shape[1], dtype=torch.float64))
    total, weight = torch.zeros_like(logits), 0.0
    for number, part in enumerate(pair.parts):
        leaf = logits.clone().requires_grad_()
        own = pair.rows[pair.owners == number]
        aligned = with_signal(part, objective)
        logprobs = leaf.detach().log_softmax(-1)[own, part.student.ids]
        aligned = replace(aligned, student=replace(aligned.student, old_logprobs=logprobs, logprobs=logprobs))
        states = HiddenStates(leaf[own], head)
        loss = objective.loss(LossInputs(aligned, objective.advantages(aligned), states)).total
        (found,) = torch.autograd.grad(loss, leaf)
        probability = float(logprobs.sum().exp())
        total += probability * found
        weight += probability * objective.weight(aligned)
    expected = (total / weight).masked_fill(~pair.student.can_follow, 0)
    torch.testing.assert_close(Expected(pair, objective)(logits).mean, expected, rtol=1e-9, atol=1e-12)


# ---- the methods ----------------------------------------------------------------------------------------------------


def mean_cosine(name: str, kind: str) -> float:
    found = [direction(pair, name)["cosine"] for pair, _ in pairs(kind, 0.5, 6, LONGEST)]
    return sum(found) / len(found)


def test_with_one_tokenizer_all_that_know_their_tokens_point_the_same_way():
    by_name = {name: mean_cosine(name, "same") for name in ("dpca", "strict", "shared_vocab", "simct", "bpm", "gold")}
    assert min(by_name.values()) > 0.9
    assert mean_cosine("uld", "same") < 0.7


@pytest.mark.parametrize("kind", ["finer", "coarser"])
def test_with_two_tokenizers_the_signal_of_whole_chunks_points_better_than_shared_entries_alone(kind):
    assert mean_cosine("dpca", kind) > mean_cosine("shared_vocab", kind) + 0.1


UNBIASED = [
    ("finer, no look-ahead", name)
    for name in ("dpca", "dpca, marginal", "dpca, uniform", "dpca, first", "dpca, last", "alm", "bpm", "bpm, reverse")
]
UNBIASED += [("coarser, no look-ahead", name) for name in ("dpca", "alm", "shared_vocab", "strict")]
UNBIASED += [("same", name) for name in ("dpca", "bpm", "strict", "shared_vocab", "simct", "gold", "cdm", "uld", "gkd")]
BIASED = [
    ("finer, no look-ahead", name)
    for name in ("shared_vocab", "strict", "simct", "gold", "cdm", "uld", "multilevel_ot", "shared_vocab + rest")
]
BIASED += [("coarser, no look-ahead", name) for name in ("bpm", "simct", "gold", "cdm", "uld", "multilevel_ot")]
BIASED += [("finer", "dpca")]  # a token of the teacher says what follows it


@pytest.mark.parametrize(("kind", "name"), UNBIASED)
def test_a_student_that_agrees_with_the_teacher_rests(kind, name):
    pair, equal = next(pairs(kind, 0.5, 1, 4))
    assert agreement(pair, equal, name) < 1e-5


@pytest.mark.parametrize(("kind", "name"), BIASED)
def test_a_student_that_agrees_with_the_teacher_is_driven_away(kind, name):
    pair, equal = next(pairs(kind, 0.5, 1, 4))
    assert agreement(pair, equal, name) > 0.05


def test_a_distance_of_ranks_drives_away_a_student_that_all_but_agrees():
    """It has a kink at agreement: what is left exactly there is the cross-entropy of ranks."""
    pair, equal = next(pairs("same", 0.5, 1, 4))
    assert 1e-4 < agreement(pair, equal, "multilevel_ot") < 0.01
    nearby = equal + 1e-9 * torch.randn(equal.shape, dtype=equal.dtype, generator=torch.Generator().manual_seed(1))
    assert agreement(pair, nearby, "multilevel_ot") > 0.5


# ---- the reason, by hand --------------------------------------------------------------------------------------------


def hidden_behind_a_longer_token() -> tuple[ToyPair, Tensor]:
    """Both write `ab` with 0.9 and nothing with 0.1; to the teacher `ab` is one token, and `a` is a token that it has.

    The student agrees with the teacher exactly.
    """
    generator = torch.Generator().manual_seed(0)
    source = Source.drawn(2, generator)
    logits = torch.full_like(source.logits, -20.0)
    for text, letter, probability in ((b"", 0, 0.9), (b"", 2, 0.1), (b"a", 1, 1.0), (b"ab", 2, 1.0)):
        logits[texts(2).index(text), letter] = math.log(probability)
    source = Source(2, logits)
    ours, theirs = (b"", b"a", b"b"), (b"", b"a", b"b", b"ab")
    pair = ToyPair.of(table_of(source, ours), table_of(source, theirs), 2)
    return pair, pair.student.logits


def start_of(table: Table, name: str, pair: ToyPair) -> Tensor:
    """The expected gradient at the start of a text: of the stop, a and b."""
    return Expected(pair, method(name))(table.logits).mean[table.rows[b""]]


@pytest.mark.parametrize(
    "name", ["shared_vocab", "simct", "gold", "cdm", "shared_vocab, forward", "shared_vocab + rest"]
)
def test_a_token_that_the_teacher_writes_inside_a_longer_one_is_unlearnt(name):
    """Its probability under the teacher is that of `a` followed by no b, about 0; the stop gets what `a` loses."""
    pair, _ = hidden_behind_a_longer_token()
    stop, a, _ = start_of(pair.student, name, pair).tolist()
    assert a > 0.005  # descent lowers it
    assert stop < -0.005


@pytest.mark.parametrize("name", ["dpca", "dpca, marginal", "dpca, first", "bpm", "bpm, reverse"])
def test_it_is_kept_by_a_method_that_sums_over_what_begins_with_it(name):
    pair, _ = hidden_behind_a_longer_token()
    assert start_of(pair.student, name, pair).abs().max() < 1e-6


def test_strict_does_so_at_the_places_where_the_student_ends():
    """There the stop is 1:1, and `a` is its alternative."""
    pair, _ = hidden_behind_a_longer_token()
    assert start_of(pair.student, "strict", pair)[1] > 0.005
    assert pair.student.vocabulary.pieces[STOP] == b""
