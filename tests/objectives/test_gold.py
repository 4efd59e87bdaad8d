"""The gold loss against its definition; tests/objectives/test_trl.py has it against TRL's."""

from functools import partial

import numpy as np
import pytest
import torch

from crossdistill import Alignment, InputError
from crossdistill.objectives import LossInputs, VocabPair, gold
from crossdistill.objectives.gold import GOLD
from crossdistill.objectives.shared.inputs import AlignedBatch, StudentTokens, TeacherTokens
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import STUDENT_STOPS, TEACHER_STOPS, case, vocab
from tests.objectives.matrices import Matrices, assert_equals_oracle, assert_survives, magnified, masked, matrices
from tests.oracles import gold as oracle

VARIANTS = [
    {},
    {"merge": "bayesian", "temperature": 1.6},
    {"beta": 0.0},
    {"beta": 1.0, "merge": "bayesian"},
    {"hybrid": False},
    {"hybrid": False, "merge": "bayesian"},
    {"weighting": "given", "matched_weight": 0.3, "unmatched_weight": 2.0, "beta": 0.9},
]


def reference(of: Matrices, **options: object) -> torch.Tensor:
    pair = of.pair
    student = oracle.Side(of.student, of.student_ids, pair.student.pieces, pair.student_stops)
    teacher = oracle.Side(of.teacher, of.teacher_ids, pair.teacher.pieces, pair.teacher_stops)
    if options.pop("weighting", "") == "given":
        options["weights"] = options.pop("matched_weight"), options.pop("unmatched_weight")
    return oracle.loss(student, teacher, of.chunks, **options)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(map(str, options.values())) or "default")
def test_value_and_gradient_equal_the_definition(seed, options):
    one = case(GOLD(**options), seed=seed)
    assert {len(ours) for ours, _ in matrices(one).chunks} > {1}  # some chunks have several tokens
    assert_equals_oracle(one, partial(reference, **options))


def test_tiles_smaller_than_the_batch_give_the_same(monkeypatch):
    monkeypatch.setattr(gold, "tiled_sum", partial(gold.tiled_sum, tile_elements=50))
    assert_equals_oracle(case(GOLD()), reference)


def test_without_a_stop_unit_stop_tokens_are_named_by_none():
    assert_equals_oracle(case(GOLD(), stop_unit=False), reference)


def test_the_entry_of_the_realised_token_is_the_probability_of_the_chunk():
    one = case(GOLD(), seed=0)
    batch = one.batch()
    splits, ids = batch.student_splits, batch.student.ids
    states = one.inputs().student
    log_chunk = torch.stack([part.sum() for part in batch.student.old_logprobs.split(splits.diff().tolist())])
    for merge, rows in (("observed", splits[:-1]), ("bayesian", splits[1:] - 1)):
        hidden, scale = GOLD(merge=merge)._merged(states, ids, splits)
        realised = torch.log_softmax(states.head.logits(hidden), -1).gather(1, ids[rows, None])[:, 0] + scale
        torch.testing.assert_close(realised, log_chunk)


def by_hand(objective: GOLD) -> float:
    """The student writes `a`, `b` and the teacher reads `ab` (one chunk); only `a` is in both vocabularies.

    P_S(a) = 1/2, P_S(b | a) = 1/4 and P_T(a) = 1/5: the student's merged entries are (1/8, 1/8), the teacher's
    (1/5, 4/5).
    """
    pair = VocabPair(vocab([b"a", b"b"]), vocab([b"a", b"ab"]))
    ours, theirs = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log(), torch.tensor([[0.2, 0.8]]).log()
    identity = LMHead(torch.eye(2))
    student = StudentTokens(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.zeros(2), torch.zeros(2))
    teacher = TeacherTokens(torch.tensor([1]), torch.tensor([2]), torch.zeros(1), HiddenStates(theirs, identity))
    alignment = Alignment([0, 2], [0, 1], [0, 2])
    batch = AlignedBatch(alignment, np.zeros(1, bool), np.array([0, 1]), pair, student, teacher)
    return objective.loss(LossInputs(batch, torch.zeros(2), HiddenStates(ours, identity))).total.item()


def test_a_chunk_worked_out_by_hand():
    assert by_hand(GOLD(hybrid=False)) == pytest.approx((4 / 5 - 1 / 8) + (1 / 5 - 1 / 8))
    reverse = 1 / 8 * np.log((1 / 8) / (1 / 5)) - 1 / 8 + 1 / 5  # of `a`
    rest = 4 / 5 - 1 / 8  # `b` against `ab`
    assert by_hand(GOLD(beta=1.0)) == pytest.approx(0.5 * reverse + 0.5 * rest)
    given = {"weighting": "given", "matched_weight": 2.0, "unmatched_weight": 0.0}
    assert by_hand(GOLD(beta=1.0, **given)) == pytest.approx(2 * reverse)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_extremes_stay_finite(options):
    assert_survives(masked(case(GOLD(**options)), [0, 2, 5]))
    assert_survives(magnified(case(GOLD(**options)), 1e5))


def test_vocabularies_that_share_nothing_are_refused_where_names_are_compared():
    pair = VocabPair(vocab([b"", b"a", b"aa"]), vocab([b"", b"", b"b"]), STUDENT_STOPS, TEACHER_STOPS[:1])
    with pytest.raises(InputError, match="share none"):
        GOLD().check(pair)
    GOLD(hybrid=False).check(pair)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": "first"}, "merge is one of observed, bayesian, not 'first'"),
        ({"weighting": "equal"}, "weighting is one of overlap, given"),
        ({"weighting": "given", "matched_weight": -1.0}, "matched_weight must be a finite number >= 0"),
        ({"weighting": "given", "matched_weight": 0.0, "unmatched_weight": 0.0}, "must not both be 0"),
        ({"matched_weight": 0.5}, 'only if weighting = "given"'),
        ({"beta": 2.0}, "beta"),
        ({"temperature": 0.0}, "temperature must be a finite number > 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        GOLD(**options)
