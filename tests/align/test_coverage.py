"""Counts of supervised and dropped tokens."""

from crossdistill.align import Coverage, DropReason
from crossdistill.align.coverage import Count


def test_every_sampled_byte_is_supervised_or_dropped_under_a_reason():
    coverage = Coverage()
    coverage.supervise(3, 12)
    coverage.drop(DropReason.SPECIAL_TOKEN, 1, 0)
    coverage.drop(DropReason.TEACHER_CONTEXT, 2, 4)
    coverage.drop(DropReason.TEACHER_CONTEXT, 1, 4)
    assert coverage.sampled == Count(tokens=7, bytes=20)
    assert coverage.share == 0.6
    assert coverage.as_dict() == {
        "sampled_bytes": 20,
        "supervised_bytes": 12,
        "dropped": {"special_token": 0, "teacher_context": 8},
        "sampled_tokens": 7,
        "supervised_tokens": 3,
        "dropped_tokens": {"special_token": 1, "teacher_context": 3},
    }


def test_nothing_is_recorded_for_zero_tokens():
    coverage = Coverage()
    coverage.drop(DropReason.NON_FINITE, 0, 0)
    assert coverage.dropped == {}


def test_the_share_is_one_if_nothing_was_sampled():
    assert Coverage().share == 1.0


def test_adding_sums_every_count_and_leaves_the_other_alone():
    one, two = Coverage(), Coverage()
    one.supervise(1, 2)
    one.drop(DropReason.STOP_TOKEN, 1, 0)
    two.supervise(10, 20)
    two.drop(DropReason.STOP_TOKEN, 1, 0)
    two.drop(DropReason.NON_FINITE, 5, 6)
    one.add(two)
    one.add(two)
    assert one.supervised == Count(21, 42)
    assert one.dropped == {DropReason.STOP_TOKEN: Count(3, 0), DropReason.NON_FINITE: Count(10, 12)}
    assert two.dropped == {DropReason.STOP_TOKEN: Count(1, 0), DropReason.NON_FINITE: Count(5, 6)}
