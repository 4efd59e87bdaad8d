"""Dual-pointer chunk alignment (Breaking the Tokenizer Barrier, section 4.1) on byte ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_Pair = tuple[np.ndarray, np.ndarray]
# of both sides; benchmarks/alignment.py times them
_BLOCK_TOKENS = 16_384  # what one look-up takes together and a core's cache holds
_LONG_TOKENS = 1_024  # a response of more is no slower alone
_SPLITS = ("student_splits", "teacher_splits", "byte_splits")


@dataclass(frozen=True, eq=False)
class Alignment:
    """The minimal chunks in which student and teacher tokens spell the same bytes.

    Chunk c holds student tokens ``[student_splits[c], student_splits[c + 1])``, teacher tokens and bytes likewise.
    Each is an int64 array of ``num_chunks + 1`` values that starts at 0 and strictly increases, so that every chunk
    has at least one byte and one token of each side, and every token and byte lies in exactly one chunk.

    Raises ValueError from the constructor where that does not hold.
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
        return np.diff(self.student_splits)

    @property
    def teacher_sizes(self) -> np.ndarray:
        """Teacher tokens in each chunk, int64 [num_chunks]."""
        return np.diff(self.teacher_splits)

    @property
    def is_one_to_one(self) -> np.ndarray:
        """Whether a chunk is one student token and one teacher token, bool [num_chunks]."""
        return (self.student_sizes == 1) & (self.teacher_sizes == 1)

    def select(self, chunks: np.ndarray) -> "Selection":
        """Some of the chunks (bool [num_chunks]) put one after the other, and which tokens they hold."""
        sizes = [np.diff(getattr(self, name)) for name in _SPLITS]
        alignment = _own([_offsets(size[chunks]) for size in sizes])
        student, teacher = (np.flatnonzero(np.repeat(chunks, size)) for size in sizes[:2])
        return Selection(alignment, student, teacher)

    @classmethod
    def concatenate(cls, alignments: Sequence["Alignment"]) -> "Alignment":
        """One alignment of the responses put one after the other, for computing on a whole batch at once."""
        return _own([_concatenate_splits([getattr(alignment, name) for alignment in alignments]) for name in _SPLITS])


class Selection(NamedTuple):
    """Chunks of an alignment, and the positions (int64) of their tokens among all student and teacher tokens."""

    alignment: Alignment
    student: np.ndarray
    teacher: np.ndarray


def align(student_ends: np.ndarray, teacher_ends: np.ndarray) -> Alignment:
    """Align two tokenisations of the same bytes.

    A pair of prefixes is synchronised iff both end at the same byte, so the boundaries are the intersection of the
    two arrays of ends: all of them are found and no chunk can be cut further (Theorem C.1 of the paper). Two marks
    and two look-ups, linear in the number of bytes.

    A token without bytes of its own (``ends[k] == ends[k - 1]``) joins the chunk of the bytes that follow it, or the
    last chunk at the end. Leave stop and special tokens out before aligning: they are paired by what they mean.

    Args:
        student_ends: byte offset at which each student token ends, int [num student tokens], never decreasing.
        teacher_ends: the same for the teacher, over the same bytes.

    Returns:
        The alignment; with no chunks where both sides are empty.

    Raises:
        ValueError: ends that decrease or are negative, or that end at different bytes.
    """
    student, teacher = np.asarray(student_ends, dtype=np.int64), np.asarray(teacher_ends, dtype=np.int64)
    repeats = _repeats(student, "student_ends"), _repeats(teacher, "teacher_ends")
    _check_total(student, teacher)
    return _own(_splits(student, teacher, repeats)) if len(student) else _NO_CHUNKS


def align_batch(student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray]) -> list[Alignment]:
    """Align many responses at once: ``[align(s, t) for s, t in zip(student_ends, teacher_ends, strict=True)]``.

    Short responses are laid one after the other over one array of bytes, where one look-up aligns as many of them as
    a core's cache holds. A response begins and ends with tokens of both sides: no chunk can reach over its border.

    Args:
        student_ends, teacher_ends: of each response, as for :func:`align`.

    Raises:
        ValueError: as :func:`align` does, and where the two sides have not as many responses.
    """
    alignments: list[Alignment] = []
    for block in _blocks(student_ends, teacher_ends):
        alignments += [align(*block[0])] if len(block) == 1 else _align_block(block)
    return alignments


def _blocks(student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray]) -> Iterator[list[_Pair]]:
    """Runs of short responses; a long one stands alone."""
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
    student, student_rows = _one_after_the_other([row for row, _ in pairs], num_bytes)
    teacher, teacher_rows = _one_after_the_other([row for _, row in pairs], num_bytes)
    repeats = _repeats(student, "student_ends"), _repeats(teacher, "teacher_ends")
    if not len(student):
        return [_NO_CHUNKS] * len(pairs)
    splits = np.stack(_splits(student, teacher, repeats))
    borders = np.searchsorted(splits[2], num_bytes)  # each response ends at a border of chunks
    starts = np.stack([student_rows, teacher_rows, num_bytes])
    splits[:2, borders] = starts[:2]  # with all of its tokens
    spans = zip(borders[:-1].tolist(), (borders[1:] + 1).tolist(), starts[:, :-1].T[:, :, None], strict=True)
    return [_own(splits[:, first:stop] - start) for first, stop, start in spans]


def align_around(student_ends: np.ndarray, teacher_ends: np.ndarray, holes: np.ndarray) -> Selection:
    """Align where the teacher's tokens do not cover every byte.

    Args:
        student_ends, teacher_ends: as for :func:`align`; no teacher token covers a byte of a hole.
        holes: int [num holes, 2], (start, end) in bytes, ascending and apart.

    Returns:
        The chunks that hold no byte of a hole. A hole takes the chunk that it lies in with it and nothing more: the
        two sides are in step again at the next byte at which both end a token.
    """
    ends, order = _with_holes(teacher_ends, holes)
    return _without_holes(align(student_ends, ends), order, len(holes))


def align_around_batch(
    student_ends: Sequence[np.ndarray], teacher_ends: Sequence[np.ndarray], holes: Sequence[np.ndarray]
) -> list[Selection]:
    """:func:`align_around` for many responses, as :func:`align_batch` is :func:`align` for many."""
    filled = [_with_holes(ends, gaps) for ends, gaps in zip(teacher_ends, holes, strict=True)]
    alignments = align_batch(student_ends, [ends for ends, _ in filled])
    rows = zip(alignments, filled, holes, strict=True)
    return [_without_holes(alignment, order, len(gaps)) for alignment, (_, order), gaps in rows]


def _with_holes(teacher_ends: np.ndarray, holes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends with those of the holes among them, and where each comes from: first the holes, then the tokens."""
    if not len(holes):
        return teacher_ends, np.arange(len(teacher_ends))
    # a hole behaves as one more token of the teacher, before any token without bytes that ends where it does
    ends = np.concatenate([holes[:, 1], teacher_ends]).astype(np.int64)
    order = np.argsort(ends, kind="stable")
    return ends[order], order


def _without_holes(alignment: Alignment, order: np.ndarray, num_holes: int) -> Selection:
    if not num_holes:
        return Selection(alignment, np.arange(alignment.student_splits[-1]), order)
    holes_before = np.append(0, np.cumsum(order < num_holes))[alignment.teacher_splits]
    selection = alignment.select(np.diff(holes_before) == 0)
    return selection._replace(teacher=order[selection.teacher] - num_holes)


def _own(splits: np.ndarray | Sequence[np.ndarray]) -> Alignment:
    """An alignment of int64 splits made here, which hold by construction: they are neither checked nor copied."""
    alignment = object.__new__(Alignment)
    for name, values in zip(_SPLITS, splits, strict=True):
        values.flags.writeable = False
        alignment.__dict__[name] = values
    return alignment


def _repeats(ends: np.ndarray, name: str) -> bool:
    """Whether a token without bytes is among them. Raises ValueError for ends that are no ends."""
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
        raise ValueError("tokens without a single byte cannot be aligned; leave special tokens out")


def _total(ends: np.ndarray) -> int:
    return int(ends[-1]) if len(ends) else 0


def _splits(student: np.ndarray, teacher: np.ndarray, repeats: tuple[bool, bool]) -> list[np.ndarray]:
    """The splits of student, teacher and bytes, int64 [num_chunks + 1] each, of ends that fit together; not empty."""
    student_marks, teacher_marks = _marks(student), _marks(teacher)
    student_splits = _shared_ends(student, teacher_marks, repeats[0])
    teacher_splits = _shared_ends(teacher, student_marks, repeats[1])
    byte_splits = np.empty(len(student_splits), dtype=np.int64)
    byte_splits[0] = 0
    _take(student, student_splits[1:] - 1, byte_splits[1:])
    student_splits[-1], teacher_splits[-1] = len(student), len(teacher)
    return [student_splits, teacher_splits, byte_splits]


def _marks(ends: np.ndarray) -> np.ndarray:
    """Whether a token ends there, bool [bytes + 1]. The start of the text is the end of no token."""
    marks = np.zeros(ends[-1] + 1, dtype=bool)
    marks[ends] = True
    marks[0] = False
    return marks


def _shared_ends(ends: np.ndarray, marks: np.ndarray, repeats: bool) -> np.ndarray:
    """0, then how many tokens there are up to each that ends where a token of the other side ends too."""
    shared = np.empty(len(ends) + 1, dtype=bool)
    shared[0] = True
    _take(marks, ends, shared[1:])
    if repeats:
        shared[2:] &= ends[1:] != ends[:-1]  # of tokens that end at one byte, the first one closes the chunk
    return np.flatnonzero(shared)


def _take(values: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    np.take(values, indices, out=out, mode="clip")  # every index is inside; to check them again costs a copy


def _offsets(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _one_after_the_other(rows: Sequence[np.ndarray], num_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
