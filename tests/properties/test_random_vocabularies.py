"""Alignment of tokenisations by random vocabularies, against its definition.

A vocabulary is every single byte and some longer pieces; a text is tokenised by longest match, by merges as in BPE, or
at random. No tokenizer library is involved.
"""

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import Alignment, align
from tests.fuzz.vocabularies import SEGMENTATIONS, Pieces, random_vocabulary
from tests.oracles.alignment import borders, synchronised

_few_bytes = st.lists(st.sampled_from(b"ab \xe7\x95\x8c"), max_size=24).map(bytes)
texts = _few_bytes | st.binary(max_size=24)


@st.composite
def tokenisers(draw: st.DrawFn) -> Callable[[bytes], Pieces]:
    """bytes -> pieces, with a random vocabulary and a way of tokenising."""
    rng = draw(st.randoms(use_true_random=False))
    segmentation = draw(st.sampled_from(sorted(SEGMENTATIONS)))
    vocabulary = random_vocabulary(rng, b"ab \xe7\x95\x8c")
    return lambda text: SEGMENTATIONS[segmentation](text, vocabulary, rng)


def ends_of(pieces: Pieces) -> np.ndarray:
    return np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


def aligned(student: Pieces, teacher: Pieces) -> Alignment:
    return align(ends_of(student), ends_of(teacher))


@given(texts, tokenisers(), tokenisers())
def test_equals_the_definition(text, student, teacher):
    ours, theirs = student(text), teacher(text)
    assert b"".join(ours) == b"".join(theirs) == text
    assert borders(aligned(ours, theirs)) == synchronised(ours, theirs)


@given(texts, tokenisers(), tokenisers())
def test_partition(text, student, teacher):
    ours, theirs = student(text), teacher(text)
    alignment = aligned(ours, theirs)
    chunks = list(zip(borders(alignment)[:-1], borders(alignment)[1:], strict=True))
    assert [text[start[2] : stop[2]] for start, stop in chunks] == [
        b"".join(ours[start[0] : stop[0]]) for start, stop in chunks
    ]
    assert [text[start[2] : stop[2]] for start, stop in chunks] == [
        b"".join(theirs[start[1] : stop[1]]) for start, stop in chunks
    ]
    assert borders(alignment)[0] == (0, 0, 0)
    assert borders(alignment)[-1] == (len(ours), len(theirs), len(text))


@given(texts, tokenisers(), tokenisers())
def test_no_chunk_can_be_cut_further(text, student, teacher):
    ours, theirs = student(text), teacher(text)
    alignment = aligned(ours, theirs)
    for chunk in range(alignment.num_chunks):
        left = ours[alignment.student_splits[chunk] : alignment.student_splits[chunk + 1]]
        right = theirs[alignment.teacher_splits[chunk] : alignment.teacher_splits[chunk + 1]]
        assert len(synchronised(left, right)) == 2


@given(texts, tokenisers(), tokenisers())
def test_symmetry(text, student, teacher):
    ours, theirs = student(text), teacher(text)
    forward, backward = aligned(ours, theirs), aligned(theirs, ours)
    assert forward == Alignment(backward.teacher_splits, backward.student_splits, backward.byte_splits)


@given(texts, tokenisers())
def test_one_tokenisation_is_one_to_one_with_itself(text, student):
    pieces = student(text)
    assert aligned(pieces, pieces).num_chunks == len(pieces)
    assert aligned(pieces, pieces).is_one_to_one.all()


@given(texts, texts, tokenisers(), tokenisers())
def test_concatenation_refines_at_shared_boundaries(first, second, student, teacher):
    """Two texts tokenised separately and concatenated: the chunks are those of both, and no others."""
    ours, theirs = (student(first), student(second)), (teacher(first), teacher(second))
    parts = [aligned(*pair) for pair in zip(ours, theirs, strict=True)]
    assert aligned(ours[0] + ours[1], theirs[0] + theirs[1]) == Alignment.concatenate(parts)


@given(texts, texts, tokenisers(), tokenisers())
def test_one_text_has_every_boundary_that_both_sides_keep(first, second, student, teacher):
    """If both tokenisations of the whole end a token at the seam, it is a boundary, and so are those of each part."""
    ours, theirs = student(first + second), teacher(first + second)
    whole = aligned(ours, theirs)
    seam = len(first)
    is_shared = seam == 0 or (seam in ends_of(ours) and seam in ends_of(theirs))
    assert (seam in whole.byte_splits) == is_shared
    if is_shared:
        i, j = (int(np.searchsorted(ends_of(side), seam, side="right")) for side in (ours, theirs))
        parts = [aligned(ours[:i], theirs[:j]), aligned(ours[i:], theirs[j:])]
        assert whole == Alignment.concatenate(parts)
