import json

import pytest

from crossdistill.costs import Costs, Part
from crossdistill.flops import AttentionLayers, ModelFlops

STUDENT, TEACHER = ModelFlops(10), ModelFlops(100)


def test_on_policy_distillation_by_hand() -> None:
    costs = Costs(STUDENT, TEACHER)
    for part in (Part.STUDENT_ROLLOUT, Part.TEACHER_PREFILL, Part.STUDENT_SCORE, Part.STUDENT_STEP):
        costs.add(part, [3, 4])
    assert costs.flops == {
        Part.STUDENT_ROLLOUT: 2 * 10 * 7,
        Part.TEACHER_PREFILL: 2 * 100 * 7,
        Part.STUDENT_SCORE: 2 * 10 * 7,
        Part.STUDENT_STEP: 6 * 10 * 7,
    }
    assert costs.total_flops == 140 + 1400 + 140 + 420


def test_distillation_on_the_teachers_responses_by_hand() -> None:
    costs = Costs(STUDENT, TEACHER)
    costs.add(Part.TEACHER_ROLLOUT, [3])
    costs.add(Part.SFT_STEP, [3])
    assert costs.flops == {Part.TEACHER_ROLLOUT: 600, Part.SFT_STEP: 180}


def test_attention_is_paid_by_row_and_not_by_the_total() -> None:
    costs = Costs(ModelFlops(10, attention=(AttentionLayers(3, 5),)), TEACHER)
    costs.add(Part.STUDENT_ROLLOUT, [3, 4])
    costs.add(Part.STUDENT_STEP, [7])
    assert costs.tokens == {Part.STUDENT_ROLLOUT: 7, Part.STUDENT_STEP: 7}
    assert costs.flops[Part.STUDENT_ROLLOUT] == 140 + 3 * 5 * (1 + 2 + 3 + 1 + 2 + 3 + 4)
    assert costs.flops[Part.STUDENT_STEP] == 3 * (140 + 3 * 5 * (1 + 2 + 3 + 4 + 5 + 6 + 7))


def test_another_teacher_has_its_own_price() -> None:
    costs = Costs(STUDENT, TEACHER)
    costs.add(Part.TEACHER_PREFILL, [3], ModelFlops(7))
    assert costs.total_flops == 2 * 7 * 3


def test_tokens_add_up_and_numbers_stay_exact() -> None:
    costs = Costs(ModelFlops(8_030_261_248), ModelFlops(8_190_735_360))
    for _ in range(3):
        costs.add(Part.STUDENT_STEP, [10**9 + 1])
    assert costs.total_flops == 6 * 8_030_261_248 * 3 * (10**9 + 1)


def test_as_dict_is_plain() -> None:
    costs = Costs(ModelFlops(1), ModelFlops(2))
    costs.add(Part.TEACHER_PREFILL, [5])
    expected = {"tokens": {"teacher_prefill": 5}, "flops": {"teacher_prefill": 20, "total": 20}}
    assert json.loads(json.dumps(costs.as_dict())) == expected
    assert Costs(STUDENT, TEACHER).as_dict() == {"tokens": {}, "flops": {"total": 0}}


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot spend -1 tokens"):
        Costs(STUDENT, TEACHER).add(Part.STUDENT_STEP, [3, -1])
