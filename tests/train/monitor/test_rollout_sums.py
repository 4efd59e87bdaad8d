"""The standard error of the gap, against a plain computation."""

import math

import pytest

from crossdistill.train.monitor.rollout_sums import RolloutSums


def sums(gaps):
    return RolloutSums(
        responses=len(gaps),
        gap_responses=sum(size > 0 for _, size in gaps),
        gap_nats=sum(nats for nats, _ in gaps),
        gap_bytes=sum(size for _, size in gaps),
        gap_nats_squared=sum(nats**2 for nats, _ in gaps),
        gap_nats_times_bytes=sum(nats * size for nats, size in gaps),
        gap_bytes_squared=sum(size**2 for _, size in gaps),
    )


def test_of_responses_of_equal_length_it_is_that_of_a_mean():
    values = [0.1, 0.4, 0.3, -0.2]
    metrics = sums([(10 * value, 10) for value in values]).metrics()
    mean = sum(values) / 4
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    assert metrics["teacher_gap"] == pytest.approx(mean)
    assert metrics["teacher_gap_se"] == pytest.approx(deviation / 2)


def test_of_one_response_nothing_is_known():
    metrics = sums([(3.0, 10)]).metrics()
    assert metrics["teacher_gap"] == pytest.approx(0.3)
    assert "teacher_gap_se" not in metrics


def test_responses_without_signal_do_not_count():
    gaps = [(1.0, 10), (4.0, 10), (0.0, 0)]
    assert sums(gaps).metrics()["teacher_gap_se"] == pytest.approx(sums(gaps[:2]).metrics()["teacher_gap_se"])


def test_classes_that_were_not_sampled_have_no_gap():
    metrics = sums([(3.0, 10)]).metrics()
    assert "teacher_gap/digits" not in metrics
    assert metrics["teacher_gap/rest"] == metrics["teacher_gap"]
    digits = RolloutSums(responses=1, gap_nats=3, gap_bytes=10, digit_gap_nats=3, digit_gap_bytes=10).metrics()
    assert digits["teacher_gap/digits"] == pytest.approx(0.3)
    assert "teacher_gap/rest" not in digits


def test_a_silent_student_has_no_entropy():
    assert "sampled_entropy" not in RolloutSums(responses=2).metrics()
    assert RolloutSums(responses=2, sampled_tokens=4, sampled_nats=2).metrics()["sampled_entropy"] == 0.5
