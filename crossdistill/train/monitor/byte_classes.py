"""Digits, white space and the rest: how many a student samples, and its gap to the teacher on each.

Tokenizers differ most on numerals and white space (three digits a token or one, runs of spaces or single ones), so a
student loses these first if a signal is biased by the difference.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crossdistill.distill.response import ScoredResponse


class ByteClass(IntEnum):
    """The kind of text that a byte or a chunk belongs to."""

    REST = 0
    DIGITS = 1
    WHITE_SPACE = 2


NUM_CLASSES = len(ByteClass)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over responses, float64 [3] each, indexed by :class:`ByteClass`.

    Over the classes, `gap_nats` and `gap_bytes` sum to the attributes of that name of the responses.

    Attributes:
        sampled_bytes: everything that was sampled, by the class of each byte (:func:`classes_of_bytes`).
        gap_nats: log student - log teacher of the aligned chunks, by the class of each chunk
            (:func:`classes_of_chunks`).
        gap_bytes: the bytes of these chunks.
    """

    sampled_bytes: np.ndarray
    gap_nats: np.ndarray
    gap_bytes: np.ndarray

    @classmethod
    def of(cls, scored: Iterable[ScoredResponse]) -> "ClassSums":
        """The sums of these responses; zeros if there are none. A response without a teacher signal has no gap."""
        sums = np.zeros((3, NUM_CLASSES))
        for item in scored:
            classes = classes_of_bytes(item.response.data)
            sums[0] += np.bincount(classes, minlength=NUM_CLASSES)
            if item.teacher is not None:
                sums[1:] += _gaps(item, classes_of_chunks(item, classes))
        return cls(*sums)


def classes_of_bytes(data: bytes) -> np.ndarray:
    """The class of each byte, by the character that it is part of.

    DIGITS are decimal digits of any script (Unicode Nd), WHITE_SPACE is what ``str.isspace`` says. Bytes that are not
    UTF-8 are REST.

    Returns:
        uint8 [len(data)].

    Example:
        >>> classes_of_bytes("a 1é".encode()).tolist()
        [0, 2, 1, 0, 0]
    """
    if data.isascii():
        return _ASCII[np.frombuffer(data, dtype=np.uint8)]
    text = data.decode("utf-8", "surrogateescape")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    distinct, inverse = np.unique(points, return_inverse=True)
    classes = np.array([_class_of(chr(point)) for point in distinct.tolist()], dtype=np.uint8)
    return np.repeat(classes[inverse], _sizes(points))


def classes_of_chunks(scored: ScoredResponse, classes: np.ndarray) -> np.ndarray:
    """The class of each chunk of an aligned response.

    DIGITS if the chunk has a byte of a digit, WHITE_SPACE if all its bytes are white space, else REST. A character that
    two chunks share counts for both.

    Args:
        scored: the response.
        classes: of its bytes, uint8 [num_bytes] (:func:`classes_of_bytes`).

    Returns:
        uint8 [num_chunks].
    """
    ends, sizes = _ends_in_response(scored), np.diff(scored.alignment.byte_splits)
    starts = ends - sizes
    num_digits, num_spaces = (_counts_before(classes == kind) for kind in (ByteClass.DIGITS, ByteClass.WHITE_SPACE))
    is_space = num_spaces[ends] - num_spaces[starts] == sizes
    found = np.where(is_space, ByteClass.WHITE_SPACE, ByteClass.REST)
    return np.where(num_digits[ends] > num_digits[starts], ByteClass.DIGITS, found).astype(np.uint8)


def _ends_in_response(scored: ScoredResponse) -> np.ndarray:
    """Where each chunk ends in the response's bytes; the alignment's own splits skip the bytes that have no chunk."""
    return scored.aligned.student_ends[scored.alignment.student_splits[1:] - 1]


def _counts_before(marks: np.ndarray) -> np.ndarray:
    """Number of marks before each position, and before the end."""
    return np.append(0, np.cumsum(marks))


def _gaps(scored: ScoredResponse, classes: np.ndarray) -> np.ndarray:
    """Nats and bytes by class, float64 [2, 3]."""
    assert scored.teacher is not None  # the caller checked it
    alignment, aligned = scored.alignment, scored.aligned
    student = _chunk_sums(scored.student_logprobs[aligned.student_positions], alignment.student_splits)
    teacher = _chunk_sums(scored.teacher.logprobs[aligned.teacher_positions], alignment.teacher_splits)
    values = (student - teacher, np.diff(alignment.byte_splits))
    return np.stack([np.bincount(classes, weights=value, minlength=NUM_CLASSES) for value in values])


def _chunk_sums(logprobs: np.ndarray, splits: np.ndarray) -> np.ndarray:
    return np.add.reduceat(logprobs.astype(np.float64), splits[:-1])


def _sizes(points: np.ndarray) -> np.ndarray:
    """UTF-8 bytes of each code point; a surrogate, which is a byte that is not UTF-8, has one."""
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    sizes[(points >= 0xDC80) & (points <= 0xDCFF)] = 1
    return sizes


def _class_of(char: str) -> ByteClass:
    if char.isdecimal():
        return ByteClass.DIGITS
    return ByteClass.WHITE_SPACE if char.isspace() else ByteClass.REST


_ASCII = np.array([_class_of(chr(point)) for point in range(128)], dtype=np.uint8)
