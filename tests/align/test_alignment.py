"""Alignments by hand, and refusals of the constructor and of `align`."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossdistill import Alignment, align
from crossdistill.align import align_around, alignment
from crossdistill.align.alignment import align_around_batch, align_batch
from tests.oracles.alignment import pieces_of, synchronised
from tests.properties.strategies import two_tokenisations


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
        ([0], [], r"tokens without a single byte cannot be aligned; leave out special tokens"),
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


@pytest.mark.parametrize("student", [[1, 4, 6, 7, 8], [2, 2, 8, 8]])
def test_alignments_made_without_checks_pass_them(student):
    """`align`, `select` and `concatenate` skip the constructor's checks and its copy."""
    made = align(np.array(student), np.array([4, 5, 6, 8]))
    for own in (made, made.select(np.arange(made.num_chunks) > 0).alignment, Alignment.concatenate([made, made])):
        assert own == Alignment(own.student_splits, own.teacher_splits, own.byte_splits)
        for splits in (own.student_splits, own.teacher_splits, own.byte_splits):
            assert splits.dtype == np.int64
            with pytest.raises(ValueError, match="read-only"):
                splits[0] = 1
    assert pickle.loads(pickle.dumps(made)) == made


def test_align_does_not_keep_the_callers_arrays():
    student, teacher = np.array([1, 2]), np.array([2])
    made = align(student, teacher)
    student[:] = 7
    assert made == Alignment([0, 2], [0, 1], [0, 2])


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


def test_select_keeps_chunks_and_names_their_tokens():
    alignment = align([1, 4, 6, 7, 8], [4, 5, 6, 7, 8])
    chunks, student, teacher = alignment.select(np.array([True, False, True, False]))
    assert chunks == Alignment([0, 2, 3], [0, 1, 2], [0, 4, 5])
    assert student.tolist() == [0, 1, 3]
    assert teacher.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("student", "teacher", "spans", "expected", "student_kept", "teacher_kept"),
    [
        ([2, 3, 5], [2, 5], [[2, 3]], ([0, 1, 2], [0, 1, 2], [0, 2, 4]), [0, 2], [0, 1]),  # a token of its own
        ([4, 6], [1, 6], [[1, 2]], ([0], [0], [0]), [], []),  # inside a chunk that spans everything
        ([4, 6], [1, 4, 6], [[1, 2]], ([0, 1], [0, 1], [0, 2]), [1], [2]),  # in step again at byte 4
        ([2, 3], [2], [[2, 3]], ([0, 1], [0, 1], [0, 2]), [0], [0]),  # at the end
        ([1, 3], [3], [[0, 1]], ([0, 1], [0, 1], [0, 2]), [1], [0]),  # at the start
        ([3], [], [[0, 3]], ([0], [0], [0]), [], []),  # nothing else
        ([1, 2, 4], [1, 2, 4], [[1, 2]], ([0, 1, 2], [0, 1, 3], [0, 1, 3]), [0, 2], [0, 1, 2]),  # token without bytes
        ([2, 5], [2, 5], np.zeros((0, 2)), ([0, 1, 2], [0, 1, 2], [0, 2, 5]), [0, 1], [0, 1]),  # no span
    ],
)
def test_align_around_by_hand(student, teacher, spans, expected, student_kept, teacher_kept):
    selection = align_around(np.array(student), np.array(teacher, dtype=np.int64), np.array(spans, dtype=np.int64))
    assert selection.alignment == Alignment(*expected)
    assert selection.student.tolist() == student_kept
    assert selection.teacher.tolist() == teacher_kept


@given(st.binary(min_size=1, max_size=24), st.data())
def test_align_around_keeps_every_chunk_without_a_span(data, draw):
    cuts = st.sets(st.integers(1, len(data)), max_size=len(data)).map(lambda ends: sorted({*ends, len(data)}))
    student, teacher = draw.draw(cuts), draw.draw(cuts)
    is_lost = draw.draw(st.lists(st.booleans(), min_size=len(teacher), max_size=len(teacher)))
    tokens = list(zip([0, *teacher[:-1]], teacher, is_lost, strict=True))
    spans = [(start, end) for start, end, lost in tokens if lost]
    teacher_ends = [end for _, end, lost in tokens if not lost]
    kept_student, kept_teacher = [], []
    borders = synchronised(pieces_of(data, student), pieces_of(data, teacher))
    for (i, j, _), (next_i, next_j, _) in pairwise(borders):
        if not any(is_lost[j:next_j]):
            kept_student += range(i, next_i)
            kept_teacher += [sum(not lost for lost in is_lost[:k]) for k in range(j, next_j)]
    selection = align_around(
        np.array(student), np.array(teacher_ends, dtype=np.int64), np.array(spans, dtype=np.int64).reshape(-1, 2)
    )
    assert selection.student.tolist() == kept_student
    assert selection.teacher.tolist() == kept_teacher
    assert selection.alignment.student_splits[-1] == len(kept_student)


NOTHING = (b"", [], [])


@example([NOTHING], 1, 1)
@example([NOTHING, (b"ab", [0, 2, 2], [1, 2]), NOTHING, (b"ab", [0, 0, 1, 2], [0, 2, 2, 2]), NOTHING], 99, 99)
@given(
    st.lists(two_tokenisations(zero_width=True) | st.just(NOTHING), max_size=6), st.integers(1, 40), st.integers(0, 40)
)
def test_a_batch_equals_its_alignments_one_by_one(batch, block_tokens, long_tokens):
    student, teacher = ([np.array(row[side], dtype=np.int64) for row in batch] for side in (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_BLOCK_TOKENS", block_tokens)
        patch.setattr(alignment, "_LONG_TOKENS", long_tokens)
        made = align_batch(student, teacher)
    assert made == [align(*row) for row in zip(student, teacher, strict=True)]


@given(st.lists(two_tokenisations(), max_size=4), st.data())
def test_a_batch_with_spans_equals_its_alignments_one_by_one(batch, draw):
    student, teacher, spans = [], [], []
    for _, student_ends, teacher_ends in batch:
        is_lost = draw.draw(st.lists(st.booleans(), min_size=len(teacher_ends), max_size=len(teacher_ends)))
        tokens = list(zip(pairwise([0, *teacher_ends]), is_lost, strict=True))
        student.append(np.array(student_ends))
        teacher.append(np.array([end for (_, end), lost in tokens if not lost], dtype=np.int64))
        spans.append(np.array([span for span, lost in tokens if lost], dtype=np.int64).reshape(-1, 2))
    made = align_around_batch(student, teacher, spans)
    expected = [align_around(*row) for row in zip(student, teacher, spans, strict=True)]
    for one, other in zip(made, expected, strict=True):
        assert one.alignment == other.alignment
        assert one.student.tolist() == other.student.tolist()
        assert one.teacher.tolist() == other.teacher.tolist()


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ([[1], [3]], [[1], [4]], "the student's tokens cover 3 bytes and the teacher's 4"),
        ([[1], [0]], [[1], []], "tokens without a single byte cannot be aligned"),
        ([[5], [2, 1, 3]], [[5], [3]], "student_ends must be offsets from 0 that never decrease"),
        ([[5], [3]], [[5], [-1, 3]], "teacher_ends must be offsets from 0 that never decrease"),
        ([[1], [2]], [[1]], "is shorter"),
    ],
)
def test_align_batch_refuses(student, teacher, message):
    rows = ([np.array(row, dtype=np.int64) for row in side] for side in (student, teacher))
    with pytest.raises(ValueError, match=message):
        align_batch(*rows)


def test_an_empty_batch():
    assert align_batch([], []) == []
    assert align_around_batch([], [], []) == []
