"""Dual-pointer chunk alignment (Breaking the Tokenizer Barrier, section 4.1) on byte ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


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
        for name in ("student_splits", "teacher_splits", "byte_splits"):
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
        names = ("student_splits", "teacher_splits", "byte_splits")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

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
        sizes = [np.diff(splits) for splits in (self.student_splits, self.teacher_splits, self.byte_splits)]
        alignment = Alignment(*(np.append(0, np.cumsum(size[chunks])) for size in sizes))
        student, teacher = (np.flatnonzero(np.repeat(chunks, size)) for size in sizes[:2])
        return Selection(alignment, student, teacher)

    @classmethod
    def concatenate(cls, alignments: Sequence["Alignment"]) -> "Alignment":
        """One alignment of the responses put one after the other, for computing on a whole batch at once."""
        return cls(
            *(
                _concatenate_splits([getattr(alignment, name) for alignment in alignments])
                for name in ("student_splits", "teacher_splits", "byte_splits")
            )
        )


class Selection(NamedTuple):
    """Chunks of an alignment, and the positions (int64) of their tokens among all student and teacher tokens."""

    alignment: Alignment
    student: np.ndarray
    teacher: np.ndarray


def align_around(student_ends: np.ndarray, teacher_ends: np.ndarray, holes: np.ndarray) -> Selection:
    """Align where the teacher's tokens do not cover every byte.

    Args:
        student_ends, teacher_ends: as for :func:`align`; no teacher token covers a byte of a hole.
        holes: int [num holes, 2], (start, end) in bytes, ascending and apart.

    Returns:
        The chunks that hold no byte of a hole. A hole takes the chunk that it lies in with it and nothing more: the
        two sides are in step again at the next byte at which both end a token.
    """
    # a hole behaves as one more token of the teacher, before any token without bytes that ends where it does
    ends = np.concatenate([holes[:, 1], teacher_ends]).astype(np.int64)
    order = np.argsort(ends, kind="stable")
    alignment = align(student_ends, ends[order])
    holes_before = np.append(0, np.cumsum(order < len(holes)))[alignment.teacher_splits]
    selection = alignment.select(np.diff(holes_before) == 0)
    return selection._replace(teacher=order[selection.teacher] - len(holes))


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
    student, teacher = _checked_ends(student_ends, "student_ends"), _checked_ends(teacher_ends, "teacher_ends")
    total = int(student[-1]) if len(student) else 0
    other = int(teacher[-1]) if len(teacher) else 0
    if total != other:
        raise ValueError(f"the student's tokens cover {total} bytes and the teacher's {other}: not the same bytes")
    if total == 0:
        if len(student) or len(teacher):
            raise ValueError("tokens without a single byte cannot be aligned; leave special tokens out")
        empty = np.zeros(1, dtype=np.int64)
        return Alignment(empty, empty, empty)
    student_cuts, teacher_cuts = _shared_ends(student, teacher, total), _shared_ends(teacher, student, total)
    byte_splits = np.append(0, student[student_cuts])
    return Alignment(_splits(student_cuts, len(student)), _splits(teacher_cuts, len(teacher)), byte_splits)


def _checked_ends(ends: np.ndarray, name: str) -> np.ndarray:
    ends = np.asarray(ends, dtype=np.int64)
    if len(ends) and (ends[0] < 0 or (ends[1:] < ends[:-1]).any()):
        raise ValueError(f"{name} must be offsets from 0 that never decrease")
    return ends


def _shared_ends(ends: np.ndarray, other: np.ndarray, total: int) -> np.ndarray:
    """Indices of the tokens that end where a token of the other side ends too."""
    marked = np.zeros(total + 1, dtype=bool)
    marked[other] = True
    marked[0] = False
    shared = marked[ends]
    shared[1:] &= ends[1:] != ends[:-1]  # of tokens that end at one byte, the first one closes the chunk
    return np.flatnonzero(shared)


def _splits(cuts: np.ndarray, num_tokens: int) -> np.ndarray:
    splits = np.append(0, cuts + 1)
    splits[-1] = num_tokens
    return splits


def _concatenate_splits(parts: Sequence[np.ndarray]) -> np.ndarray:
    offsets = np.cumsum([0] + [int(part[-1]) for part in parts])
    shifted = [part[1:] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    return np.concatenate([np.zeros(1, dtype=np.int64), *shifted])
