"""The gkd loss against its definition."""

import math
from functools import partial

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import VocabPair, gkd
from crossdistill.objectives.gkd import GKD, generalised_jsd
from tests.objectives.cases import TEACHER_PIECES, case, pair, vocab
from tests.objectives.matrices import Matrices, assert_equals_oracle, assert_survives, magnified, masked
from tests.oracles import gkd as oracle


def reference(of: Matrices, **options: float) -> torch.Tensor:
    """Over the ids that both have: the vocabularies of these cases differ in size."""
    width = min(of.student.shape[1], of.teacher.shape[1])
    return oracle.loss(of.student[:, :width], of.teacher[:, :width], of.starts, **options)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("options", [{}, {"beta": 0.0}, {"beta": 1.0}, {"beta": 0.1, "temperature": 1.7}])
def test_value_and_gradient_equal_the_definition(seed, options):
    assert_equals_oracle(case(GKD(**options), seed=seed), partial(reference, **options))


def test_tiles_smaller_than_the_batch_give_the_same(monkeypatch):
    monkeypatch.setattr(gkd, "tiled_sum", partial(gkd.tiled_sum, tile_elements=50))
    assert_equals_oracle(case(GKD()), reference)


def test_a_divergence_worked_out_by_hand():
    student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]]).log()
    # the mixture is (3/4, 1/4)
    expected = 0.5 * math.log(4 / 3) + 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert generalised_jsd(0.5)(student, teacher).item() == pytest.approx(expected)
    assert generalised_jsd(0.0)(student, teacher).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_extremes_stay_finite(beta):
    assert_survives(masked(case(GKD(beta=beta)), [0, 2, 5]))
    assert_survives(magnified(case(GKD(beta=beta)), 1e5))


def same(**stops: tuple[int, ...]) -> VocabPair:
    return VocabPair(vocab(TEACHER_PIECES), vocab(TEACHER_PIECES), **stops)


def test_one_vocabulary_is_accepted():
    GKD().check(same())
    GKD().check(same(student_stops=(1,), teacher_stops=(1, 7)))
    GKD().check(VocabPair(vocab(TEACHER_PIECES), vocab((*TEACHER_PIECES, b"", b""))))  # padded


def test_two_vocabularies_are_refused():
    with pytest.raises(InputError, match=r"id 0 is b'' to the student and b'b' to the teacher.*dpca"):
        GKD().check(pair())
    longer = vocab((*TEACHER_PIECES, b"new"))
    for vocabs in (VocabPair(longer, vocab(TEACHER_PIECES)), VocabPair(vocab(TEACHER_PIECES), longer)):
        with pytest.raises(InputError, match="text beyond the 13 ids"):
            GKD().check(vocabs)


def test_a_stop_that_ends_no_response_of_the_student_is_refused():
    with pytest.raises(InputError, match="no stop token of the teacher ends"):
        GKD().check(same(student_stops=(1,), teacher_stops=(7,)))


@pytest.mark.parametrize("options", [{"beta": -0.1}, {"beta": 1.1}, {"beta": math.nan}, {"temperature": 0.0}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(InputError, match=f"{next(iter(options))}"):
        GKD(**options)
