"""The kinds of fuzz cases: plain data drawn from an `rng` at a size, and a check that raises on a failure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np

from crossdistill import Alignment, ByteVocab, align
from crossdistill.align import align_around
from crossdistill.align.alignment import align_batch
from crossdistill.paired import PairedTokenization
from crossdistill.tokens.normalisation import ends_in_original
from tests.fuzz.vocabularies import SEGMENTATIONS, random_bytes, random_vocabulary
from tests.oracles import normalisation
from tests.oracles.alignment import around, borders, common_ends, pieces_of, synchronised
from tests.oracles.encoding import expected_bytes
from tests.tokenizers_in_process import BUILDERS, CHARACTER_BUILDERS, CORPUS, NAMES, ORDINARY, SPECIAL
from tests.tokens.test_normalisation import LOCAL, check_no_end_is_false, check_spans

ALPHABETS = (b"ab", b"ab \xe7\x95\x8c", bytes(range(256)))
SNIPPETS = (
    *CORPUS,
    *SPECIAL,
    *ORDINARY,
    "e\u0301",
    "\u1112\u1161\u11ab",
    "▁",
    "▁▁",
    "<0x0A>",
    "👩‍🚀",
    "\u212b",
    " ",
    "\n",
)
TOKENIZERS = BUILDERS | CHARACTER_BUILDERS
MOST_PIECES = 16  # the definition compares every prefix with every prefix, as bytes


@dataclass(frozen=True)
class Kind:
    """A kind of case.

    Attributes:
        name: its name.
        draw: rng, size (about as many bytes) -> the arguments of `check`: plain data, so that a case can be printed and
            pasted.
        check: raises on a failure.
        share: of all cases.
        most: the largest size.
    """

    name: str
    draw: Callable[[Random, int], tuple[Any, ...]]
    check: Callable[..., None]
    share: float
    most: int


def ends_of(pieces: list[bytes]) -> list[int]:
    return np.cumsum([len(piece) for piece in pieces], dtype=np.int64).tolist()


def check_pair(data: bytes, student: list[int], teacher: list[int]) -> None:
    """The alignment is the set of common ends: a partition, minimal, and the same from both sides."""
    alignment = align(np.array(student, dtype=np.int64), np.array(teacher, dtype=np.int64))
    found = borders(alignment)
    assert found == common_ends(student, teacher), "boundaries"
    if len(student) + len(teacher) <= MOST_PIECES:
        assert found == synchronised(pieces_of(data, student), pieces_of(data, teacher)), "boundaries as bytes"
    assert found[0] == (0, 0, 0) and found[-1] == (len(student), len(teacher), len(data)), "all tokens and bytes"
    assert all(a < b for start, stop in pairwise(found) for a, b in zip(start, stop, strict=True)), "an empty chunk"
    backward = align(np.array(teacher, dtype=np.int64), np.array(student, dtype=np.int64))
    assert backward == Alignment(alignment.teacher_splits, alignment.student_splits, alignment.byte_splits), "symmetry"
    inside = [set(ends[start : stop - 1]) for ends, start, stop in _chunks(found, student, teacher)]
    for ours, theirs in zip(inside[::2], inside[1::2], strict=True):
        assert not (ours & theirs) - {border[2] for border in found}, "a chunk that can be cut"


def _chunks(found: list[tuple[int, int, int]], *sides: list[int]) -> list[tuple[list[int], int, int]]:
    return [(ends, start[side], stop[side]) for start, stop in pairwise(found) for side, ends in enumerate(sides)]


def draw_tokenisations(rng: Random, size: int) -> tuple[bytes, list[int], list[int]]:
    """Two tokenisations of random bytes, some with tokens that have no bytes."""
    data = random_bytes(rng, rng.choice(ALPHABETS), rng.randint(1, size))
    density = rng.choice((0.1, 0.5, 0.9))
    tokenisations = []
    for _ in range(2):
        ends = [end for end in range(1, len(data)) if rng.random() < density]
        repeated = rng.choices(range(len(data) + 1), k=rng.randint(0, 3)) if rng.random() < 0.3 else []
        tokenisations.append(sorted([*ends, *repeated, len(data)]))
    return data, *tokenisations


def draw_vocabularies(rng: Random, size: int) -> tuple[bytes, list[int], list[int]]:
    """A text in two random vocabularies, or twice in the same one."""
    alphabet = rng.choice(ALPHABETS)
    data = random_bytes(rng, alphabet, rng.randint(0, size))
    ends = []
    for _ in range(2):
        cut = SEGMENTATIONS[rng.choice(tuple(SEGMENTATIONS))]
        ends.append(ends_of(cut(data, random_vocabulary(rng, alphabet), rng)))
    return (data, ends[0], ends[0]) if rng.random() < 0.1 else (data, *ends)


def draw_spans(rng: Random, size: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Two tokenisations; some runs of the teacher's tokens become unencodable spans."""
    _, student, teacher = draw_tokenisations(rng, size)
    tokens = [(start, stop) for start, stop in pairwise([0, *teacher]) if start < stop]
    lost = [token for token in tokens if rng.random() < 0.3]
    starts = {start for start, _ in lost}
    spans = [(start, stop) for start, stop in lost if start not in {end for _, end in lost} and stop not in starts]
    lost_ends = {stop for _, stop in spans}
    return student, [stop for start, stop in tokens if stop not in lost_ends], spans


def check_spans_around(student: list[int], teacher: list[int], spans: list[tuple[int, int]]) -> None:
    selection = align_around(
        np.array(student, dtype=np.int64),
        np.array(teacher, dtype=np.int64),
        np.array(spans, dtype=np.int64).reshape(-1, 2),
    )
    expected = around(student, teacher, spans)
    assert selection.student.tolist() == expected.student, "student tokens kept"
    assert selection.teacher.tolist() == expected.teacher, "teacher tokens kept"
    assert selection.alignment.student_sizes.tolist() == expected.sizes, "chunks"


def draw_batch(rng: Random, size: int) -> tuple[list[tuple[list[int], list[int]]]]:
    rows = [draw_tokenisations(rng, size)[1:] for _ in range(rng.randint(0, 6))]
    return ([row if rng.random() < 0.9 else ([], []) for row in rows],)


def check_batch(rows: list[tuple[list[int], list[int]]]) -> None:
    student, teacher = ([np.array(row[side], dtype=np.int64) for row in rows] for side in (0, 1))
    one_by_one = [align(*row) for row in zip(student, teacher, strict=True)]
    assert align_batch(student, teacher) == one_by_one, "a batch and its rows"
    whole = [np.concatenate([np.zeros(0, dtype=np.int64), *_shifted(side)]) for side in (student, teacher)]
    together = align(*whole)
    assert np.isin(Alignment.concatenate(one_by_one).byte_splits, together.byte_splits).all(), "rows put together"


def _shifted(rows: list[np.ndarray]) -> list[np.ndarray]:
    offsets = np.cumsum([0] + [int(row[-1]) if len(row) else 0 for row in rows])
    return [row + offset for row, offset in zip(rows, offsets[:-1], strict=True)]


@cache
def vocab(name: str) -> ByteVocab:
    return ByteVocab.from_tokenizer(TOKENIZERS[name]())


def draw_encoding(rng: Random, size: int) -> tuple[str, bytes]:
    """A tokenizer, and words with random bytes among them."""
    parts = [
        random_bytes(rng, ALPHABETS[-1], rng.randint(1, 4)) if rng.random() < 0.3 else _snippet(rng)
        for _ in range(rng.randint(0, max(1, size // 4)))
    ]
    return rng.choice(tuple(TOKENIZERS)), b"".join(parts)[:size]


def _snippet(rng: Random) -> bytes:
    text = rng.choice(SNIPPETS)
    start = rng.randrange(len(text))
    return text[start : start + rng.randint(1, 8)].encode()


def check_encoding(name: str, data: bytes) -> None:
    encoding = vocab(name).encode(data)
    ends = encoding.ends.tolist()
    assert len(ends) == len(encoding.ids), "an end a token"
    assert ends == sorted(ends), "ends that decrease"
    covered = max([0, *ends, *encoding.unencodable_spans[:, 1].tolist()])
    assert covered == len(data), "bytes in no token and no span"
    assert (np.diff(encoding.unencodable_spans.reshape(-1)) > 0).all(), "spans that touch"
    if name not in NAMES:
        return
    made = vocab(name).decode(encoding.ids)
    if expected_bytes(name, data) == data:
        assert made == data, "ids of other bytes"
    else:  # a run of text is normalised, unless its ids would lose some of it
        assert expected_bytes(name, made) == expected_bytes(name, data), "ids of other text"


def draw_paired(rng: Random, size: int) -> tuple[str, list[int], str]:
    """Ids that a student may sample, canonical or not, and a teacher."""
    student, teacher = rng.choices(tuple(TOKENIZERS), k=2)
    with_bytes = _ids_with_bytes(student)
    return student, [rng.choice(with_bytes) for _ in range(rng.randint(0, max(1, size // 3)))], teacher


@cache
def _ids_with_bytes(name: str) -> list[int]:
    return np.flatnonzero(vocab(name).lengths).tolist()


def check_paired(student: str, ids: list[int], teacher: str) -> None:
    paired = PairedTokenization.of(vocab(student), ids, vocab(teacher))
    assert paired.data == b"".join(vocab(student).pieces[token_id] for token_id in ids), "the student's bytes"
    known = np.delete(np.arange(len(paired.encoding.ids)), paired.encoding.unencodable_positions)
    spans = [(int(start), int(stop)) for start, stop in paired.encoding.unencodable_spans]
    expected = around(vocab(student).ends(ids).tolist(), paired.encoding.ends[known].tolist(), spans)
    assert paired.student_positions.tolist() == expected.student, "student tokens kept"
    assert paired.teacher_positions.tolist() == known[expected.teacher].tolist(), "teacher tokens kept"
    assert paired.alignment.student_sizes.tolist() == expected.sizes, "chunks"


def draw_normalisation(rng: Random, size: int) -> tuple[str, str]:
    return rng.choice(tuple(LOCAL)), "".join(rng.choices("aabbc  eéΣσΑ\u0301\u0323\u1112\u1161\u11ab\u212bﬁ", k=size))


def check_normalisation(name: str, text: str) -> None:
    """With one token per byte."""
    check_spans(name, text)
    check_no_end_is_false(name, text)
    every_end = np.arange(1, len(LOCAL[name](text)) + 1)
    slow = normalisation.ends_in_original(text, LOCAL[name], every_end.tolist())
    assert (ends_in_original(text, LOCAL[name], every_end) >= slow).all(), "coarser than the slow twin"


KINDS = (
    Kind("tokenisations", draw_tokenisations, check_pair, 0.40, 3_000),
    Kind("vocabularies", draw_vocabularies, check_pair, 0.25, 60),
    Kind("spans", draw_spans, check_spans_around, 0.10, 400),
    Kind("batches", draw_batch, check_batch, 0.05, 60),
    Kind("encodings", draw_encoding, check_encoding, 0.09, 400),
    Kind("paired", draw_paired, check_paired, 0.09, 400),
    Kind("normalisation", draw_normalisation, check_normalisation, 0.02, 40),
)
