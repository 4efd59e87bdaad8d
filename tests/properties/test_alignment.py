"""Alignment against its definition, on arbitrary tokenisations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import Alignment, align
from tests.oracles.alignment import borders, common_ends, pieces_of, synchronised
from tests.properties.strategies import two_tokenisations


@given(two_tokenisations())
def test_equals_the_definition(cuttings):
    data, student, teacher = cuttings
    assert borders(align(student, teacher)) == synchronised(pieces_of(data, student), pieces_of(data, teacher))


@given(two_tokenisations(zero_width=True))
def test_equals_the_definition_with_tokens_without_bytes(cuttings):
    data, student, teacher = cuttings
    assert borders(align(student, teacher)) == synchronised(pieces_of(data, student), pieces_of(data, teacher))


@given(two_tokenisations(zero_width=True))
def test_the_oracle_of_long_texts_is_the_definition(cuttings):
    data, student, teacher = cuttings
    assert common_ends(student, teacher) == synchronised(pieces_of(data, student), pieces_of(data, teacher))


@given(two_tokenisations(zero_width=True))
def test_chunks_partition_tokens_and_bytes(cuttings):
    data, student, teacher = cuttings
    alignment = align(student, teacher)
    assert borders(alignment)[0] == (0, 0, 0)
    assert borders(alignment)[-1] == (len(student), len(teacher), len(data))
    assert alignment.student_sizes.sum() == len(student)
    assert alignment.teacher_sizes.sum() == len(teacher)
    assert (np.diff(alignment.byte_splits) > 0).all()


@given(two_tokenisations())
def test_no_chunk_can_be_cut_further(cuttings):
    _, student, teacher = cuttings
    alignment = align(student, teacher)
    for chunk in range(alignment.num_chunks):
        inside = slice(alignment.student_splits[chunk], alignment.student_splits[chunk + 1] - 1)
        other = slice(alignment.teacher_splits[chunk], alignment.teacher_splits[chunk + 1] - 1)
        assert not set(student[inside]) & set(teacher[other])


@given(two_tokenisations(zero_width=True))
def test_swapping_the_sides_swaps_the_splits(cuttings):
    _, student, teacher = cuttings
    forward, backward = align(student, teacher), align(teacher, student)
    assert forward == Alignment(backward.teacher_splits, backward.student_splits, backward.byte_splits)


@given(two_tokenisations())
def test_a_tokenisation_aligns_with_itself_one_to_one(cuttings):
    _, student, _ = cuttings
    alignment = align(student, student)
    assert alignment.num_chunks == len(student)
    assert alignment.is_one_to_one.all()


@given(st.lists(two_tokenisations(), max_size=5))
def test_concatenation_equals_the_alignment_of_the_concatenation(batch):
    offsets = np.cumsum([0, *(len(data) for data, _, _ in batch)])
    student, teacher = (
        [end + offset for cuttings, offset in zip(batch, offsets[:-1], strict=True) for end in cuttings[side]]
        for side in (1, 2)
    )
    alignments = [align(student_ends, teacher_ends) for _, student_ends, teacher_ends in batch]
    assert Alignment.concatenate(alignments) == align(student, teacher)
