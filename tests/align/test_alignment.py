"""Alignments by hand, and what the constructor and `align` refuse."""

import numpy as np
import pytest

from crossdistill import Alignment, align


@pytest.mark.parametrize(
    ("student", "teacher", "student_splits", "teacher_splits", "byte_splits"),
    [
        ([], [], [0], [0], [0]),
        ([3], [3], [0, 1], [0, 1], [0, 3]),
        ([1, 2, 3], [3], [0, 3], [0, 1], [0, 3]),
        ([3], [1, 2, 3], [0, 1], [0, 3], [0, 3]),
        ([2, 5, 9], [2, 5, 9], [0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 5, 9]),
        ([2, 4, 6], [3, 6], [0, 3], [0, 2], [0, 6]),
        ([1, 4, 6, 7], [4, 5, 6, 7], [0, 2, 3, 4], [0, 1, 3, 4], [0, 4, 6, 7]),
        # tokens without bytes: at the start, twice in the middle, at the end
        ([0, 2], [2], [0, 2], [0, 1], [0, 2]),
        ([2, 2, 2, 4], [2, 4], [0, 1, 4], [0, 1, 2], [0, 2, 4]),
        ([2, 4], [2, 4, 4], [0, 1, 2], [0, 1, 3], [0, 2, 4]),
        ([2, 2, 4], [2, 2, 4], [0, 1, 3], [0, 1, 3], [0, 2, 4]),
    ],
)
def test_by_hand(student, teacher, student_splits, teacher_splits, byte_splits):
    alignment = align(np.array(student, dtype=np.int64), np.array(teacher, dtype=np.int64))
    assert alignment.student_splits.tolist() == student_splits
    assert alignment.teacher_splits.tolist() == teacher_splits
    assert alignment.byte_splits.tolist() == byte_splits


def test_sizes_and_one_to_one():
    alignment = align([1, 4, 6, 7, 8], [4, 5, 6, 7, 8])
    assert alignment.num_chunks == 4
    assert alignment.student_sizes.tolist() == [2, 1, 1, 1]
    assert alignment.teacher_sizes.tolist() == [1, 2, 1, 1]
    assert alignment.is_one_to_one.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ([1, 3], [1, 4], r"the student's tokens cover 3 bytes and the teacher's 4: not the same bytes"),
        ([1, 4], [1, 3], r"the student's tokens cover 4 bytes and the teacher's 3"),
        ([], [4], r"the student's tokens cover 0 bytes and the teacher's 4"),
        ([2, 1], [1], r"student_ends must be offsets from 0 that never decrease"),
        ([-1, 2], [2], r"student_ends must be offsets from 0 that never decrease"),
        ([2], [3, 2], r"teacher_ends must be offsets from 0 that never decrease"),
        ([2], [-2, 2], r"teacher_ends must be offsets from 0 that never decrease"),
        ([0], [], r"tokens without a single byte cannot be aligned; leave special tokens out"),
        ([], [0, 0], r"tokens without a single byte cannot be aligned"),
    ],
)
def test_align_refuses(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        align(np.array(student, dtype=np.int64), np.array(teacher, dtype=np.int64))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (([0, 1], [0, 1], [0, 1, 2]), r"differ in length: \[2, 3\]"),
        (([0, 1], [0, 1, 2], [0, 1, 2]), r"differ in length: \[2, 3\]"),
        (([], [], []), "student_splits must start at 0"),
        (([1, 2], [0, 2], [0, 2]), "student_splits must start at 0"),
        (([0, 2], [1, 2], [0, 2]), "teacher_splits must start at 0"),
        (([0, 2], [0, 2], [1, 2]), "byte_splits must start at 0"),
        (([0, 1, 1], [0, 1, 2], [0, 1, 2]), "student_splits must strictly increase: chunk 1 is empty"),
        (([0, 1, 2], [0, 0, 2], [0, 1, 2]), "teacher_splits must strictly increase: chunk 0 is empty"),
        (([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 1]), "byte_splits must strictly increase: chunk 2 is empty"),
    ],
)
def test_the_constructor_refuses(splits, message):
    with pytest.raises(ValueError, match=message):
        Alignment(*(np.array(values, dtype=np.int64) for values in splits))


def test_an_alignment_is_frozen_and_leaves_the_callers_arrays_alone():
    splits = np.array([0, 1])
    alignment = Alignment(splits, splits, splits)
    with pytest.raises(ValueError, match="read-only"):
        alignment.student_splits[0] = 1
    splits[1] = 5
    assert alignment.student_splits.tolist() == [0, 1]


def test_equality_is_by_value():
    one = align([1, 2], [2])
    assert one == align([1, 2], [2])
    assert one != align([2], [1, 2])
    assert one != align([1, 2], [1, 2])
    assert one != "an alignment"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_concatenation():
    parts = [align([1, 3], [3]), align([], []), align([2, 4], [2, 4])]
    assert Alignment.concatenate(parts) == Alignment([0, 2, 3, 4], [0, 1, 2, 3], [0, 3, 5, 7])
    assert Alignment.concatenate([]) == align([], [])
    assert Alignment.concatenate(parts[:1]) == parts[0]


def test_splits_are_int64():
    alignment = align([1, 2], [2])
    assert {getattr(alignment, f"{side}_splits").dtype for side in ("student", "teacher", "byte")} == {
        np.dtype("int64")
    }
