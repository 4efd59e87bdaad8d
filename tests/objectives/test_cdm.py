"""The cdm loss against its definition."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import LossInputs, VocabPair
from crossdistill.objectives.cdm import CDM, student_top_tokens, top_entropies
from crossdistill.objectives.shared.dynamic_mapping.vocab_map import TopTokens
from crossdistill.ops import HiddenStates, LMHead, TopLogprobs
from tests.objectives.cases import (
    STUDENT_PIECES,
    STUDENT_STOPS,
    TEACHER_PIECES,
    TEACHER_STOPS,
    Case,
    batch,
    case,
    pair,
    vocab,
)
from tests.oracles import cdm as oracle

OPTIONS = [
    {"top_k": 100},
    {"top_k": 4},
    {"top_k": 6, "max_distance": 1.0, "temperature": 2.0},
    {"top_k": 3, "max_distance": 0.0},
    {"top_k": 5, "divergence": "reverse", "temperature": 0.5},
]


def expected(whole: Case) -> Tensor:
    objective, total = whole.objective, 0.0
    for part, hidden in zip(whole.parts, whole.hidden, strict=True):
        stops = (STUDENT_STOPS, TEACHER_STOPS) if part.pair.student_stops else ((), ())
        states, splits = part.teacher.dense, part.alignment
        total = total + oracle.loss(
            oracle.Side(
                whole.head.logits(hidden),
                part.student.ids.tolist(),
                splits.student_splits.tolist(),
                STUDENT_PIECES,
                stops[0],
            ),
            oracle.Side(
                states.head.logits(states.hidden),
                part.teacher.ids.tolist(),
                splits.teacher_splits.tolist(),
                TEACHER_PIECES,
                stops[1],
            ),
            top_k=objective.top_k,
            max_distance=objective.max_distance,
            name=objective.divergence,
            temperature=objective.temperature,
        )
    return total


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("stop_unit", [True, False])
def test_value_and_gradient_equal_the_definition(options, seed, stop_unit):
    whole = case(CDM(**options), seed, lengths=(6, 0, 14), stop_unit=stop_unit)
    leaves = [*whole.hidden, whole.head.weight.requires_grad_(), whole.head.bias.requires_grad_()]
    wanted, loss = expected(whole), whole.loss()
    assert wanted > 1e-3
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(wanted, leaves), rtol=1e-7, atol=1e-9
    )


def test_the_cases_have_searched_paths_and_similar_tokens():
    whole = case(CDM(top_k=6), 0, lengths=(14,))
    sizes = whole.batch().alignment
    assert ((sizes.student_sizes >= 2) & (sizes.teacher_sizes >= 2)).any()  # chunks in which a path is searched
    stats = whole.objective.loss(whole.inputs()).stats
    assert 0 < stats["similar_mass"] < stats["mapped_mass"] < sizes.num_chunks
    assert CDM(top_k=6, max_distance=0.0).loss(whole.inputs()).stats["similar_mass"] == 0


def logits_of(rows: Sequence[dict[int, float]], vocab_size: int) -> HiddenStates:
    """States whose logits are the logs of these probabilities, and very small elsewhere."""
    logits = torch.full((len(rows), vocab_size), -1e3, dtype=torch.float64)
    for number, row in enumerate(rows):
        for token, probability in row.items():
            logits[number, token] = math.log(probability)
    return HiddenStates(torch.eye(len(rows), dtype=torch.float64), LMHead(logits.T.contiguous()))


def loss_of(vocabs: VocabPair, ids: list[int], sides: tuple[HiddenStates, HiddenStates], objective: CDM) -> float:
    part = batch(vocabs, ids, None, sides)
    top = sides[1].head.logits(sides[1].hidden).log_softmax(-1).topk(objective.top_k)
    part = part.with_teacher(topk=TopLogprobs(top.indices, top.values))
    return objective.loss(LossInputs(part, objective.advantages(part), sides[0])).total.item()


def test_one_position_worked_out_by_hand():
    """The teacher's `world` is exact and its `words` nearest to the student's `sword`; its `!!!` is like nothing."""
    vocabs = VocabPair(vocab([b"world", b" word", b"swords", b"?", b"a"]), vocab([b"world", b"words", b"!!!", b"a"]))
    student = logits_of([{0: 0.2, 1: 0.4, 2: 0.3, 3: 0.1}], 5)
    teacher = logits_of([{0: 0.6, 1: 0.2, 2: 0.2}], 4)
    # words : word is 1 edit of 9 letters, words : swords 1 of 11
    p, q = (0.75, 0.25), (0.2 / 0.5, 0.3 / 0.5)
    value = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert loss_of(vocabs, [4], (student, teacher), CDM(top_k=3)) == pytest.approx(value)
    assert loss_of(vocabs, [4], (student, teacher), CDM(top_k=3, max_distance=1 / 11)) == 0  # one token alone
    # `swords` is not among the student's top two
    fewer = logits_of([{0: 0.2, 1: 0.5, 2: 0.1, 3: 0.2}], 5)
    q = 0.2 / 0.7, 0.5 / 0.7
    value = sum(a * math.log(a / b) for a, b in zip((0.75, 0.25), q, strict=True))
    assert loss_of(vocabs, [4], (fewer, teacher), CDM(top_k=2)) == pytest.approx(value)


def test_a_multi_token_chunk_worked_out_by_hand():
    """`ab` of the student is `a`, `b` of the teacher: its position against the mean of the teacher's two."""
    vocabs = VocabPair(vocab([b"a", b"b", b"ab"]), vocab([b"a", b"b", b"c"]))
    student = logits_of([{0: 0.5, 1: 0.25, 2: 0.25}], 3)
    teacher = logits_of([{0: 0.8, 1: 0.1, 2: 0.1}, {0: 0.2, 1: 0.4, 2: 0.4}], 3)
    scores = math.sqrt(0.8 * 0.2), math.sqrt(0.1 * 0.4)
    p, q = (scores[0] / sum(scores), scores[1] / sum(scores)), (2 / 3, 1 / 3)
    value = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert loss_of(vocabs, [2], (student, teacher), CDM(top_k=3)) == pytest.approx(value)


def test_several_ids_of_the_same_bytes_count_together():
    vocabs = VocabPair(vocab([b"a", b"b", b"a"]), vocab([b"b", b"a", b"b", b"a", b"a"]))
    student = logits_of([{0: 0.1, 1: 0.6, 2: 0.3}], 3)
    teacher = logits_of([{0: 0.3, 1: 0.1, 2: 0.3, 3: 0.1, 4: 0.2}], 5)
    assert loss_of(vocabs, [0], (student, teacher), CDM(top_k=5)) == pytest.approx(0, abs=1e-12)


def test_the_top_and_the_entropy_are_those_of_the_distribution(monkeypatch):
    monkeypatch.setattr("crossdistill.objectives.cdm.TILE_ELEMENTS", 8)  # one position a tile
    probabilities = [{0: 0.5, 1: 0.25, 2: 0.125, 3: 0.125}, {3: 0.75, 1: 0.25}]
    tops, entropy = student_top_tokens(logits_of(probabilities, 5), 2)
    assert tops.ids.tolist() == [[0, 1], [3, 1]]
    assert tops.logprobs.tolist() == [
        pytest.approx([math.log(0.5), math.log(0.25)]),
        pytest.approx([math.log(0.75), math.log(0.25)]),
    ]
    assert entropy.tolist() == pytest.approx([1.75 * math.log(2), -0.75 * math.log(0.75) + 0.5 * math.log(2)])
    known = top_entropies(tops).tolist()  # of 1/2, 1/4 and the rest, and of all
    assert known == pytest.approx([1.5 * math.log(2), entropy[1]])
    assert top_entropies(TopTokens(tops.ids, tops.logprobs - math.inf)).tolist() == pytest.approx([0, 0], abs=1e-30)


def test_a_teacher_without_what_the_student_wants_and_huge_logits_stay_finite():
    whole = case(CDM(top_k=6))
    inputs = whole.inputs()
    topk = inputs.batch.teacher.most_probable
    masked = topk.logprobs.clone()
    masked[:, 2:] = -torch.inf
    part = inputs.batch.with_teacher(topk=TopLogprobs(topk.ids, masked))
    for scale in (1.0, 1e4):
        head = LMHead(whole.head.weight * scale, None)
        student = HiddenStates(inputs.student.hidden, head)
        loss = whole.objective.loss(LossInputs(part, inputs.advantages, student)).total
        assert loss.isfinite()
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, whole.hidden))


def test_vocabularies_that_share_nothing_are_refused():
    with pytest.raises(InputError, match="'cdm' compares the tokens that both vocabularies have"):
        CDM().check(VocabPair(vocab([b"a", b"b"]), vocab([b"c"])))
    CDM().check(pair())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 1}, "top_k"),
        ({"max_distance": 1.5}, "max_distance"),
        ({"max_distance": math.nan}, "max_distance"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"divergence": "tvd"}, "there is no divergence 'tvd'"),
        ({"mix": 2.0}, "mix"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CDM(**options)
