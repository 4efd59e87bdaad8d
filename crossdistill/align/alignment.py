"""Dual-pointer chunk alignment (Breaking the Tokenizer Barrier, section 4.1) on byte ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_Pair = tuple[np.ndarray, np.ndarray]
# tokens of both sides; timed by benchmarks/alignment.py
_BLOCK_TOKENS = 16_384  # short responses of one look-up: what fits in a core's cache
_LONG_TOKENS = 1_024  # a response with more is no slower on its own
_SPLITS = ("student_splits", "teacher_splits", "byte_splits")


@dataclass(frozen=True, eq=False)
class Alignment:
    """The finest chunks in which student and teacher tokens have the same bytes.

    Chunk c holds the student tokens ``[student_splits[c], student_splits[c + 1])``, and teacher tokens and bytes
    likewise. Each array starts at 0 and strictly increases, so every chunk has at least one byte and one token of each
    side, and every token and byte lies in exactly one chunk. Without chunks each array is ``[0]``.

    Attributes:
        student_splits: int64 [num_chunks + 1], read-only.
        teacher_splits: int64 [num_chunks + 1], read-only.
        byte_splits: int64 [num_chunks + 1], read-only.

    Raises:
        ValueError: the arrays differ in length, do not start at 0, or do not strictly increase.

    Example:
        >>> alignment = align(np.array([2, 5, 6]), np.array([5, 6]))  # a 2:1 chunk of 5 bytes, then a 1:1 chunk
        >>> alignment.num_chunks, alignment.student_sizes.tolist(), alignment.is_one_to_one.tolist()
        (2, [2, 1], [False, True])
    """

    student_splits: np.ndarray
    teacher_splits: np.ndarray
    byte_splits: np.ndarray

    def __post_init__(self) -> None:
        sizes = {len(self.student_splits), len(self.teacher_splits), len(self.byte_splits)}
        if len(sizes) != 1:
            raise ValueError(f"the splits of student, teacher and bytes differ in length: {sorted(sizes)}")
        for name in _SPLITS:
            splits = np.array(getattr(self, name), dtype=np.int64)  # a copy: it is frozen below
            if len(splits) == 0 or splits[0] != 0:
                raise ValueError(f"{name} must start at 0")
            if (splits[1:] <= splits[:-1]).any():
                chunk = int(np.argmax(splits[1:] <= splits[:-1]))
                raise ValueError(f"{name} must strictly increase: chunk {chunk} is empty")
            splits.setflags(write=False)
            object.__setattr__(self, name, splits)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Alignment):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _SPLITS)

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_chunks(self) -> int:
        return len(self.byte_splits) - 1

    @property
    def student_sizes(self) -> np.ndarray:
        """Student tokens in each chunk, int64 [num_chunks]."""
        return self.student_splits[1:] - self.student_splits[:-1]

    @property
    def teacher_sizes(self) -> np.ndarray:
        """Teacher tokens in each chunk, int64 [num_chunks]."""
        return self.teacher_splits[1:] - self.teacher_splits[:-1]

    @property
    def is_one_to_one(self) -> np.ndarray:
        """Whether a chunk is one student token and one teacher token, bool [num_chunks]."""
        return (self.student_sizes == 1) & (self.teacher_sizes == 1)

    def select(self, chunks: np.ndarray) -> "Selection":
        """Select chunks and their tokens.

        Args:
            chunks: bool [num_chunks], the chunks to keep.

        Returns:
            The kept chunks as one alignment, and the positions of their tokens.

        Example:
            >>> selection = align(np.array([2, 5, 6]), np.array([5, 6])).select(np.array([False, True]))
            >>> selection.alignment.num_chunks, selection.student.tolist(), selection.teacher.tolist()
            (1, [2], [1])
        """
        sizes = [np.diff(getattr(self, name)) for name in _SPLITS]
        alignment = _own([_offsets(size[chunks]) for size in sizes])
        student, teacher = (np.flatnonzero(np.repeat(chunks, size)) for size in sizes[:2])
        return Selection(alignment, student, teacher)

    @classmethod
    def concatenate(cls, alignments: Sequence["Alignment"]) -> "Alignment":
        """One alignment of all responses, one after the other, to compute on a whole batch at once."""
        return _own([_concatenate_splits([getattr(alignment, name) for alignment in alignments]) for name in _SPLITS])


class Selection(NamedTuple):
    """Some chunks of an alignment, and which tokens are theirs.

    Attributes:
        alignment: the chunks.
        student: int64 [num student tokens of the chunks], their positions among all student tokens.
        teacher: int64 [num teacher tokens of the chunks], their positions among all teacher tokens.

    Example:
        >>> selection = align(np.array([2, 5, 6]), np.array([5, 6])).select(np.array([True, False]))
        >>> selection.student.tolist(), selection.teacher.tolist()
        ([0, 1], [0])
    """

    alignment: Alignment
    student: np.ndarray
    teacher: np.ndarray


def align(student_ends: np.ndarray, teacher_ends: np.ndarray) -> Alignment:
    """Align two tokenisations of the same bytes.

    A pair of prefixes is synchronised iff both end at the same byte, so the boundaries are the intersection of the
    two arrays of ends: all of them are found, and no chunk can be cut further (Theorem C.1 of the paper). Linear in
    the number of bytes.

    A token without bytes of its own (``ends[k] == ends[k - 1]``) joins the chunk of the bytes after it, or the last
    chunk at the end. Leave out stop and special tokens before aligning: they are paired by meaning, not by bytes.

    Args:
        student_ends: byte offset at which each student token ends, int [num student tokens], never decreasing.
        teacher_ends: the same for the teacher, over the same bytes.

    Returns:
        The alignment; without chunks if both sides are empty.

    Raises:
        ValueError: ends decrease or are negative, the two sides end at different bytes, or there are tokens but no
            bytes.

    Example:
        >>> alignment = align(np.array([2, 5, 6]), np.array([5, 6]))  # student tokens end at the bytes 2, 5 and 6
        >>> alignment.student_splits.tolist(), alignment.teacher_splits.tolist(), alignment.byte_splits.tolist()
        ([0, 2, 3], [0, 1, 2], [0, 5, 6])
    """
    student, teacher = np.asarray(student_ends, dtype=np.int64), np.asarray(teacher_ends, dtype=np.int64)
    repeats = _repeats(student, "student_ends"), _repeats(teacher, "teacher_ends")
    _check_total(student, teacher)
    return _own(_splits(student, teacher, repeats)) if len(student) else _NO_CHUNKS


def align_batch(student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray]) -> list[Alignment]:
    """Align many responses at once: ``[align(s, t) for s, t in zip(student_ends, teacher_ends, strict=True)]``.

    Short responses share one array of bytes, so that one look-up aligns as many of them as fit in a core's cache. A
    response begins and ends with tokens of both sides, so no chunk crosses its border.

    Args:
        student_ends: of each response, as for :func:`align`.
        teacher_ends: of each response, as for :func:`align`.

    Returns:
        One alignment per response.

    Raises:
        ValueError: as for :func:`align`, or the two sides differ in the number of responses.

    Examples:
        >>> ends = [np.array([2, 5, 6]), np.array([3])]
        >>> [alignment.num_chunks for alignment in align_batch(ends, [np.array([5, 6]), np.array([1, 3])])]
        [2, 1]
    """
    alignments: list[Alignment] = []
    for block in _blocks(student_ends, teacher_ends):
        alignments += [align(*block[0])] if len(block) == 1 else _align_block(block)
    return alignments


def _blocks(student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray]) -> Iterator[list[_Pair]]:
    """Blocks of short responses; each long response is a block of its own."""
    block: list[_Pair] = []
    room = _BLOCK_TOKENS
    for pair in zip(student_ends, teacher_ends, strict=True):
        num_tokens = len(pair[0]) + len(pair[1])
        if block and (num_tokens > room or num_tokens > _LONG_TOKENS):
            yield block
            block, room = [], _BLOCK_TOKENS
        block.append(pair)
        room = 0 if num_tokens > _LONG_TOKENS else room - num_tokens
    if block:
        yield block


def _align_block(pairs: Sequence[_Pair]) -> list[Alignment]:
    for pair in pairs:
        _check_total(*pair)
    num_bytes = _offsets([_total(row) for row, _ in pairs])
    student, student_rows = _concatenate_ends([row for row, _ in pairs], num_bytes)
    teacher, teacher_rows = _concatenate_ends([row for _, row in pairs], num_bytes)
    repeats = _repeats(student, "student_ends"), _repeats(teacher, "teacher_ends")
    if not len(student):
        return [_NO_CHUNKS] * len(pairs)
    splits = np.stack(_splits(student, teacher, repeats))
    borders = np.searchsorted(splits[2], num_bytes)  # each response ends at a chunk border
    starts = np.stack([student_rows, teacher_rows, num_bytes])
    splits[:2, borders] = starts[:2]  # and has all of its tokens
    spans = zip(borders[:-1].tolist(), (borders[1:] + 1).tolist(), starts[:, :-1].T[:, :, None], strict=True)
    return [_own(splits[:, first:stop] - start) for first, stop, start in spans]


def align_around(student_ends: np.ndarray, teacher_ends: np.ndarray, unencodable_spans: np.ndarray) -> Selection:
    """Align if the teacher's tokens do not cover every byte.

    An unencodable span costs the chunk that it lies in and nothing more: the two sides are in step again at the next
    byte at which both end a token.

    Args:
        student_ends: as for :func:`align`.
        teacher_ends: as for :func:`align`; no teacher token covers a byte of an unencodable span.
        unencodable_spans: int [num spans, 2], (start, end) in bytes, ascending and not touching
            (:attr:`crossdistill.Encoding.unencodable_spans`).

    Returns:
        The chunks without a byte of an unencodable span.

    Raises:
        ValueError: as for :func:`align`.

    Example:
        >>> selection = align_around(np.array([1, 3, 4]), np.array([1, 4]), np.array([[1, 2]]))
        >>> selection.student.tolist(), selection.teacher.tolist()
        ([0], [0])
    """
    ends, order = _insert_spans(teacher_ends, unencodable_spans)
    return _without_spans(align(student_ends, ends), order, len(unencodable_spans))


def align_around_batch(
    student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray], unencodable_spans: Sequence[np.ndarray]
) -> list[Selection]:
    """:func:`align_around` for many responses at once, as :func:`align_batch` is for :func:`align`.

    Examples:
        >>> ends, spans = [np.array([1, 3, 4])], [np.array([[1, 2]])]
        >>> [selection.student.tolist() for selection in align_around_batch(ends, [np.array([1, 4])], spans)]
        [[0]]
    """
    with_spans = [_insert_spans(*row) for row in zip(teacher_ends, unencodable_spans, strict=True)]
    alignments = align_batch(student_ends, [ends for ends, _ in with_spans])
    rows = zip(alignments, with_spans, unencodable_spans, strict=True)
    return [_without_spans(alignment, order, len(spans)) for alignment, (_, order), spans in rows]


def _insert_spans(teacher_ends: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends with those of the spans among them, and the index of each: first the spans, then the tokens."""
    if not len(spans):
        return teacher_ends, np.arange(len(teacher_ends))
    # a span acts as one more teacher token, before any token without bytes that ends at the same byte
    ends = np.concatenate([spans[:, 1], teacher_ends]).astype(np.int64)
    order = np.argsort(ends, kind="stable")
    return ends[order], order


def _without_spans(alignment: Alignment, order: np.ndarray, num_spans: int) -> Selection:
    """The chunks without a span; `order` as from :func:`_insert_spans`."""
    if not num_spans:
        return Selection(alignment, np.arange(alignment.student_splits[-1]), order)
    spans_before = np.append(0, np.cumsum(order < num_spans))[alignment.teacher_splits]
    selection = alignment.select(np.diff(spans_before) == 0)
    return selection._replace(teacher=order[selection.teacher] - num_spans)


def _own(splits: np.ndarray | Sequence[np.ndarray]) -> Alignment:
    """An alignment from int64 splits computed here: valid by construction, so neither checked nor copied."""
    alignment = object.__new__(Alignment)
    for name, values in zip(_SPLITS, splits, strict=True):
        values.flags.writeable = False
        alignment.__dict__[name] = values
    return alignment


def _repeats(ends: np.ndarray, name: str) -> bool:
    """Whether there is a token without bytes. Raises ValueError for invalid ends."""
    if not len(ends) or (ends[0] > 0 and (ends[1:] > ends[:-1]).all()):
        return False
    if ends[0] < 0 or (ends[1:] < ends[:-1]).any():
        raise ValueError(f"{name} must be offsets from 0 that never decrease")
    return True


def _check_total(student: np.ndarray, teacher: np.ndarray) -> None:
    total, other = _total(student), _total(teacher)
    if total != other:
        raise ValueError(f"the student's tokens cover {total} bytes and the teacher's {other}: not the same bytes")
    if total == 0 and (len(student) or len(teacher)):
        raise ValueError("tokens without a single byte cannot be aligned; leave out special tokens")


def _total(ends: np.ndarray) -> int:
    return int(ends[-1]) if len(ends) else 0


def _splits(student: np.ndarray, teacher: np.ndarray, repeats: tuple[bool, bool]) -> list[np.ndarray]:
    """The splits of student, teacher and bytes, int64 [num_chunks + 1] each, of valid ends that are not empty."""
    student_marks, teacher_marks = _marks(student), _marks(teacher)
    student_splits = _shared_ends(student, teacher_marks, repeats[0])
    teacher_splits = _shared_ends(teacher, student_marks, repeats[1])
    byte_splits = np.empty(len(student_splits), dtype=np.int64)
    byte_splits[0] = 0
    _take(student, student_splits[1:] - 1, byte_splits[1:])
    student_splits[-1], teacher_splits[-1] = len(student), len(teacher)
    return [student_splits, teacher_splits, byte_splits]


def _marks(ends: np.ndarray) -> np.ndarray:
    """Whether a token ends at each byte offset, bool [bytes + 1]; no token ends at 0."""
    marks = np.zeros(ends[-1] + 1, dtype=bool)
    marks[ends] = True
    marks[0] = False
    return marks


def _shared_ends(ends: np.ndarray, marks: np.ndarray, repeats: bool) -> np.ndarray:
    """0, then the number of tokens up to each one that ends where a token of the other side ends too."""
    shared = np.empty(len(ends) + 1, dtype=bool)
    shared[0] = True
    _take(marks, ends, shared[1:])
    if repeats:
        shared[2:] &= ends[1:] != ends[:-1]  # of tokens that end at the same byte, the first closes the chunk
    return np.flatnonzero(shared)


def _take(values: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    np.take(values, indices, out=out, mode="clip")  # every index is valid; checking them again would cost a copy


def _offsets(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _concatenate_ends(rows: Sequence[np.ndarray], num_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of all rows in one array over all bytes, and the offset of each row's first token in it."""
    sizes = [len(row) for row in rows]
    ends = np.concatenate(rows, dtype=np.int64, casting="unsafe")
    ends += np.repeat(num_bytes[:-1], sizes)
    return ends, _offsets(sizes)


def _concatenate_splits(parts: Sequence[np.ndarray]) -> np.ndarray:
    offsets = _offsets([int(part[-1]) for part in parts])
    shifted = [part[1:] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    return np.concatenate([np.zeros(1, dtype=np.int64), *shifted])


_NO_CHUNKS = Alignment(np.zeros(1), np.zeros(1), np.zeros(1))
