"""Digits, white space and the rest: how much of them a student writes, and how far it is from its teacher on each.

Numerals and white space are where tokenizers differ most (three digits a token against one, runs of spaces against
single ones), so they are what a student loses first when a signal is biased by that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crossdistill.distill.response import ScoredResponse


class ByteClass(IntEnum):
    """What a byte spells, or a chunk."""

    REST = 0
    DIGITS = 1
    WHITE_SPACE = 2


NUM_CLASSES = len(ByteClass)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over responses, float64 [3] each, indexed by :class:`ByteClass`; they add up over responses.

    sampled_bytes: of all that was sampled, by what each byte spells (:func:`classes_of_bytes`).
    gap_nats, gap_bytes: log student - log teacher of the aligned chunks, and their bytes, by the class of the chunk
    (:func:`classes_of_chunks`). Over the classes they sum to the responses' ``gap_nats`` and ``gap_bytes``.
    """

    sampled_bytes: np.ndarray
    gap_nats: np.ndarray
    gap_bytes: np.ndarray

    @classmethod
    def of(cls, scored: Iterable[ScoredResponse]) -> "ClassSums":
        """Zeros where there are no responses; one that has no teacher signal has no gap."""
        sums = np.zeros((3, NUM_CLASSES))
        for item in scored:
            classes = classes_of_bytes(item.response.data)
            sums[0] += np.bincount(classes, minlength=NUM_CLASSES)
            if item.teacher is not None:
                sums[1:] += _gaps(item, classes_of_chunks(item, classes))
        return cls(*sums)


def classes_of_bytes(data: bytes) -> np.ndarray:
    """The class of each byte by the character that it is part of, uint8 [len(data)].

    DIGITS are decimal digits of any script (Unicode Nd), WHITE_SPACE what ``str.isspace`` says. Bytes that are no
    UTF-8 are REST.
    """
    if data.isascii():
        return _ASCII[np.frombuffer(data, dtype=np.uint8)]
    text = data.decode("utf-8", "surrogateescape")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    distinct, inverse = np.unique(points, return_inverse=True)
    classes = np.array([_class_of(chr(point)) for point in distinct.tolist()], dtype=np.uint8)
    return np.repeat(classes[inverse], _sizes(points))


def classes_of_chunks(scored: ScoredResponse, classes: np.ndarray) -> np.ndarray:
    """The class of each chunk, uint8 [num_chunks], from those of the response's bytes.

    DIGITS where a chunk holds a byte of a digit, WHITE_SPACE where all its bytes are white space, else REST. A
    character that two chunks share counts for both.
    """
    ends, sizes = _ends_in_response(scored), np.diff(scored.alignment.byte_splits)
    starts = ends - sizes
    num_digits, num_spaces = (_counted(classes == kind) for kind in (ByteClass.DIGITS, ByteClass.WHITE_SPACE))
    is_space = num_spaces[ends] - num_spaces[starts] == sizes
    found = np.where(is_space, ByteClass.WHITE_SPACE, ByteClass.REST)
    return np.where(num_digits[ends] > num_digits[starts], ByteClass.DIGITS, found).astype(np.uint8)


def _ends_in_response(scored: ScoredResponse) -> np.ndarray:
    """Where each chunk ends in the bytes of the response; the alignment's own splits leave out what has no chunk."""
    return scored.aligned.student_ends[scored.alignment.student_splits[1:] - 1]


def _counted(marks: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(marks))


def _gaps(scored: ScoredResponse, classes: np.ndarray) -> np.ndarray:
    """Nats and bytes by class, float64 [2, 3]."""
    assert scored.teacher is not None  # the caller's case
    alignment, aligned = scored.alignment, scored.aligned
    student = _chunk_sums(scored.student_logprobs[aligned.student_positions], alignment.student_splits)
    teacher = _chunk_sums(scored.teacher.logprobs[aligned.teacher_positions], alignment.teacher_splits)
    values = (student - teacher, np.diff(alignment.byte_splits))
    return np.stack([np.bincount(classes, weights=value, minlength=NUM_CLASSES) for value in values])


def _chunk_sums(logprobs: np.ndarray, splits: np.ndarray) -> np.ndarray:
    return np.add.reduceat(logprobs.astype(np.float64), splits[:-1])


def _sizes(points: np.ndarray) -> np.ndarray:
    """Bytes of each code point; one that stands for a byte that is no UTF-8 has one."""
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    sizes[(points >= 0xDC80) & (points <= 0xDCFF)] = 1
    return sizes


def _class_of(char: str) -> ByteClass:
    if char.isdecimal():
        return ByteClass.DIGITS
    return ByteClass.WHITE_SPACE if char.isspace() else ByteClass.REST


_ASCII = np.array([_class_of(chr(point)) for point in range(128)], dtype=np.uint8)
