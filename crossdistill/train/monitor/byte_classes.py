"""Digits, white space and the rest: how many a student samples, and its gap to the teacher on each.

Tokenizers differ most on numerals and white space (three digits a token or one, runs of spaces or single ones), so a
student loses these first if a signal is biased by the difference.
"""

from collections.abc import Iterable, Iterator, Sequence
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
        items = list(scored)
        classes = [classes_of_bytes(item.response.data) for item in items]
        sampled = np.bincount(_joined(classes), minlength=NUM_CLASSES).astype(np.float64)
        with_teacher = [k for k, item in enumerate(items) if item.teacher is not None]
        return cls(sampled, *_gaps([items[k] for k in with_teacher], [classes[k] for k in with_teacher]))


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


def classes_of_chunks(scored: Sequence[ScoredResponse], classes: Sequence[np.ndarray]) -> np.ndarray:
    """The class of each chunk of aligned responses.

    DIGITS if the chunk has a byte of a digit, WHITE_SPACE if all its bytes are white space, else REST. A character that
    two chunks share counts for both.

    Args:
        scored: the responses.
        classes: of their bytes, uint8 [num_bytes] each (:func:`classes_of_bytes`).

    Returns:
        uint8 [chunks of all responses].
    """
    firsts = _firsts(classes)
    ends = _joined([_ends_in_response(item) + first for item, first in zip(scored, firsts, strict=True)])
    sizes = _chunk_sizes(scored)
    starts, whole = ends - sizes, _joined(classes)
    num_digits, num_spaces = (_counts_before(whole == kind) for kind in (ByteClass.DIGITS, ByteClass.WHITE_SPACE))
    is_space = num_spaces[ends] - num_spaces[starts] == sizes
    found = np.where(is_space, ByteClass.WHITE_SPACE, ByteClass.REST)
    return np.where(num_digits[ends] > num_digits[starts], ByteClass.DIGITS, found).astype(np.uint8)


def _ends_in_response(scored: ScoredResponse) -> np.ndarray:
    """Where each chunk ends in the response's bytes; the alignment's own splits skip the bytes that have no chunk."""
    return scored.aligned.student_ends[scored.alignment.student_splits[1:] - 1]


def _chunk_sizes(scored: Sequence[ScoredResponse]) -> np.ndarray:
    """Bytes of each chunk of all responses."""
    return _joined([item.alignment.byte_splits[1:] - item.alignment.byte_splits[:-1] for item in scored])


def _counts_before(marks: np.ndarray) -> np.ndarray:
    """Number of marks before each position, and before the end."""
    return np.append(0, np.cumsum(marks))


def _gaps(scored: Sequence[ScoredResponse], classes: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Nats and bytes by class, float64 [3] each, of responses with a teacher's signal."""
    student = [item.student_logprobs[item.aligned.student_positions] for item in scored]
    teacher = [item.teacher.logprobs[item.aligned.teacher_positions] for item in scored if item.teacher is not None]
    nats = _chunk_sums(student, [item.alignment.student_splits for item in scored])
    nats -= _chunk_sums(teacher, [item.alignment.teacher_splits for item in scored])
    of_chunks = classes_of_chunks(scored, classes)
    for values in (nats, _chunk_sizes(scored)):
        yield np.bincount(of_chunks, weights=values, minlength=NUM_CLASSES)


def _chunk_sums(logprobs: Sequence[np.ndarray], splits: Sequence[np.ndarray]) -> np.ndarray:
    """Sums over the tokens of each chunk of all responses."""
    starts = _joined([split[:-1] + first for split, first in zip(splits, _firsts(logprobs), strict=True)])
    return np.add.reduceat(_joined(logprobs).astype(np.float64), starts) if len(starts) else np.zeros(0)


def _firsts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Where each part begins in all of them together."""
    return np.cumsum([0, *map(len, parts)])[:-1]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


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
