"""Edit distances, the path through a chunk, and the mapping of tokens, against their definitions."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.align import align
from crossdistill.objectives import VocabPair
from crossdistill.objectives.shared.dynamic_mapping import vocab_map
from crossdistill.objectives.shared.dynamic_mapping.dtw import (
    BAND,
    TokenSequence,
    entropy_weights,
    group_tokens,
    groups_of_path,
)
from crossdistill.objectives.shared.dynamic_mapping.edit_distance import ByteStrings, edit_distances, lower_bounds
from crossdistill.objectives.shared.dynamic_mapping.vocab_map import TopTokens, vocab_map_of
from tests.objectives.cases import vocab
from tests.oracles import cdm as oracle

TEXTS = st.lists(st.binary(max_size=9) | st.text("ab ", max_size=6).map(str.encode), min_size=1, max_size=8)


@given(TEXTS, TEXTS)
def test_distances_are_levenshteins_without_spaces_and_no_less_than_their_bounds(ours, theirs):
    sides = ByteStrings.of(ours), ByteStrings.of(theirs)
    left, right = (index.flatten() for index in np.indices((len(ours), len(theirs))))
    found = edit_distances(*sides, left, right)
    assert found.tolist() == [oracle.edit(a, b) for a in ours for b in theirs]
    assert (lower_bounds(*sides, left, right) <= found).all()


def test_long_strings_are_measured_too():
    sides = ByteStrings.of([b"a" * 130, b""]), ByteStrings.of([b"b" + b"a" * 70])
    assert edit_distances(*sides, np.array([0, 1]), np.array([0, 0])).tolist() == [60, 71]


def test_entropy_weights_worked_out_by_hand():
    weights = entropy_weights(np.array([1.0, 3.0, 2.0, 5.0, 5.0]), np.array([0, 3, 3, 5]))
    low, middle, high = (3 + 3 / (1 + np.exp(-x)) for x in (-2, 0, 2))
    assert weights.tolist() == pytest.approx([low, high, middle, low, low])
    assert len(entropy_weights(np.zeros(0), np.array([0]))) == 0


def tokens(texts: list[bytes], weights: list[float]) -> TokenSequence:
    return TokenSequence(ByteStrings.of(texts), np.cumsum([len(text) for text in texts]), np.array(weights))


def cut(data: bytes, ends: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("band", [0, 1, BAND])
def test_paths_are_the_cheapest_through_every_synchronisation_point(seed, band, monkeypatch):
    monkeypatch.setattr("crossdistill.objectives.shared.dynamic_mapping.dtw.BAND", band)
    rng = Random(seed)
    data = bytes(rng.choices(b"abc", k=24))
    sides = [cut(data, sorted(rng.sample(range(1, 24), rng.randint(5, 12)))) for _ in range(2)]
    factors = [[rng.random() for _ in texts] for texts in sides]
    student, teacher = (tokens(*side) for side in zip(sides, factors, strict=True))
    alignment = align(student.ends, teacher.ends)
    splits = alignment.student_splits.tolist(), alignment.teacher_splits.tolist()
    own, other = (
        oracle.Side(None, list(range(len(texts))), split, texts, ()) for texts, split in zip(sides, splits, strict=True)
    )
    may = oracle.allowed(own, other, band)
    costs = [
        [
            factors[1][i] * factors[0][j] * oracle.edit(t, s) if may[i][j] else float("inf")
            for j, s in enumerate(sides[0])
        ]
        for i, t in enumerate(sides[1])
    ]
    path = oracle.path(costs)
    wanted = [
        group
        for chunk in range(alignment.num_chunks)
        for group in groups_of_path(chunk, [at for at in path if own.chunk_of(at[1]) == chunk])
    ]
    got = group_tokens(alignment, student, teacher)
    assert [(group.chunk, group.student, group.teacher) for group in got] == [
        (group.chunk, group.student, group.teacher) for group in wanted
    ]
    for group, other in zip(got, wanted, strict=True):
        assert group.teacher_weights == pytest.approx(other.teacher_weights)
        assert sum(group.teacher_weights) == pytest.approx(1)


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        ([1.0, 2.0], [([0, 1], {0: 1.0}), ([2], {1: 1.0})]),
        ([2.0, 1.0], [([0], {0: 1.0}), ([1, 2], {1: 1.0})]),
    ],
)
def test_the_more_certain_token_takes_what_is_alike_to_neither(weights, groups):
    """`a` `bc` `d` against `ab` `cd`: `bc` is two edits from both, so that the teacher's weights decide."""
    student, teacher = tokens([b"a", b"bc", b"d"], [1.0] * 3), tokens([b"ab", b"cd"], weights)
    got = group_tokens(align(student.ends, teacher.ends), student, teacher)
    assert [(g.student, dict(zip(g.teacher, g.teacher_weights, strict=True))) for g in got] == groups


def test_groups_of_a_crossing_path_worked_out_by_hand():
    groups = groups_of_path(3, [(0, 0), (1, 0), (1, 1)])
    assert [(group.chunk, group.student) for group in groups] == [(3, [0]), (3, [0, 1])]
    assert dict(zip(groups[0].teacher, groups[0].teacher_weights, strict=True)) == {0: 0.5, 1: 0.5}
    assert dict(zip(groups[1].teacher, groups[1].teacher_weights, strict=True)) == {0: 0.25, 1: 0.75}


def test_a_chunk_of_many_tokens_takes_linear_time_and_a_whole_path():
    size = 3000
    ours = [b"a", *[b"aa"] * size]
    theirs = [*[b"aa"] * size, b"a"]
    student, teacher = (tokens(texts, [1.0] * len(texts)) for texts in (ours, theirs))
    alignment = align(student.ends, teacher.ends)
    assert alignment.num_chunks == 1
    groups = group_tokens(alignment, student, teacher)
    assert {token for group in groups for token in group.student} == set(range(size + 1))
    assert {token for group in groups for token in group.teacher} == set(range(size + 1))


def test_tokens_without_bytes_leave_no_gap_in_a_path():
    ends = np.array([0] * 12 + [2, 3] + [3] * 12), np.array([0] * 30 + [1, 3] + [3] * 30)
    sides = [TokenSequence(ByteStrings.of([b"a"] * len(each)), each, np.ones(len(each))) for each in ends]
    groups = group_tokens(align(*ends), *sides)
    assert {token for group in groups for token in group.student} == set(range(len(ends[0])))
    assert {token for group in groups for token in group.teacher} == set(range(len(ends[1])))


LETTERS = [b"a", b"b", b"c"]
WORDS = [b"ab", b" ab", b"abc", b"abcd", b"bcd", b"  ", b" ", b"abcdefgh", b"abcdefg", b"ca", b"\xff\xfe\xfd"]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("max_distance", [0.0, 0.2, 0.3, 1.0])
@pytest.mark.parametrize("pairs_at_once", [1, 2**21])
def test_mapping_equals_the_definition(seed, max_distance, pairs_at_once, monkeypatch):
    monkeypatch.setattr(vocab_map, "_PAIRS_AT_ONCE", pairs_at_once)
    rng = Random(seed)
    pieces = [[b"", b"", *LETTERS, *rng.choices(WORDS, k=9)] for _ in range(2)]
    both = VocabPair(*map(vocab, pieces), (1,), (0,))
    sides = [oracle.Side(None, [], [], texts, stops) for texts, stops in zip(pieces, ((1,), (0,)), strict=True)]
    rows = [[rng.sample(range(len(texts)), 7) for _ in range(5)] for texts in pieces]
    logprobs = np.sort(np.random.default_rng(seed).normal(size=(5, 7)))[:, ::-1]
    entries = vocab_map_of(both)(np.array(rows[0]), TopTokens(np.array(rows[1]), logprobs), max_distance)
    names = vocab_map_of(both).student.ids
    for row in range(5):
        ours, theirs = (dict.fromkeys(side[row], 0.0) for side in rows)
        theirs.update(zip(rows[1][row], logprobs[row].tolist(), strict=True))
        wanted = {}
        for own, other in oracle.mapping(*sides, ours, theirs, max_distance).items():
            mass = sum(np.exp(value) for token, value in theirs.items() if sides[1].name(token) == own)
            wanted[tuple(sides[0].named(other))] = (pytest.approx(np.log(mass)), own != other)
        at = entries.rows == row
        columns = zip(entries.names[at], entries.logprobs[at], entries.similar[at], strict=True)
        assert {tuple(names[name]): (value, similar) for name, value, similar in columns} == wanted
