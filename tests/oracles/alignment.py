"""The slow obvious twin of :func:`crossdistill.align`, written from the definition.

A pair of prefixes (i student tokens, j teacher tokens) is synchronised iff both decode to the same bytes. Every pair is
compared, as bytes. If several pairs decode to the same bytes, because of tokens without bytes, the shortest counts. The
last pair is replaced by both complete responses.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from crossdistill import Alignment


def prefixes(pieces: Sequence[bytes]) -> list[bytes]:
    """The bytes of the first 0, 1, 2, ... tokens."""
    return [b"".join(pieces[:count]) for count in range(len(pieces) + 1)]


def synchronised(student: Sequence[bytes], teacher: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """(student tokens, teacher tokens, bytes) at every border between chunks, from (0, 0, 0) to the whole response."""
    student_prefixes, teacher_prefixes = prefixes(student), prefixes(teacher)
    shortest: dict[bytes, tuple[int, int, int]] = {}
    for i, student_prefix in enumerate(student_prefixes):
        for j, teacher_prefix in enumerate(teacher_prefixes):
            if student_prefix == teacher_prefix:
                shortest.setdefault(student_prefix, (i, j, len(student_prefix)))
    borders = sorted(shortest.values())
    if len(borders) > 1:
        borders[-1] = (len(student), len(teacher), len(student_prefixes[-1]))
    return borders


def pieces_of(data: bytes, ends: Sequence[int]) -> list[bytes]:
    """The bytes of each token, cut out of `data`."""
    return [data[start:end] for start, end in pairwise([0, *ends])]


def common_ends(student: Sequence[int], teacher: Sequence[int]) -> list[tuple[int, int, int]]:
    """:func:`synchronised` from the ends only, for responses too long to compare as bytes: the common ends."""
    first_student, first_teacher = (
        {end: index + 1 for index, end in reversed(list(enumerate(ends)))} for ends in (student, teacher)
    )
    shared = sorted((first_student.keys() & first_teacher.keys()) - {0})
    found = [(0, 0, 0), *((first_student[end], first_teacher[end], end) for end in shared)]
    if shared:
        found[-1] = (len(student), len(teacher), shared[-1])
    return found


class Around(NamedTuple):
    """Positions of the tokens in chunks without an unencodable span, and the student tokens of each such chunk."""

    student: list[int]
    teacher: list[int]
    sizes: list[int]


def around(student: Sequence[int], teacher: Sequence[int], spans: Sequence[tuple[int, int]]) -> Around:
    """The tokens that :func:`crossdistill.align.align_around` must keep: a span is a token that spoils its chunk."""
    tokens = sorted([(end, -1) for _, end in spans] + [(end, index) for index, end in enumerate(teacher)])
    kept = Around([], [], [])
    for (i, j, _), (next_i, next_j, _) in pairwise(common_ends(student, [end for end, _ in tokens])):
        chunk = [index for _, index in tokens[j:next_j]]
        if -1 not in chunk:
            kept.student.extend(range(i, next_i))
            kept.teacher.extend(chunk)
            kept.sizes.append(next_i - i)
    return kept


def borders(alignment: Alignment) -> list[tuple[int, int, int]]:
    """The borders of an alignment in the form of :func:`synchronised`."""
    columns = (alignment.student_splits, alignment.teacher_splits, alignment.byte_splits)
    return list(zip(*(column.tolist() for column in columns), strict=True))
