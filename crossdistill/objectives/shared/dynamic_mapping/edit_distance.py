"""Edit distances of many pairs of byte strings at once.

The distance is Levenshtein's, on bytes, after spaces are removed: a token with and one without its leading space are
the same word. It is divided by the sum of both lengths, as in the released code of CDM: 0 for equal strings, at most 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ByteStrings:
    """N byte strings without their spaces, with numbers that bound their distances from below.

    Attributes:
        texts: the strings.
        lengths: int64 [N].
        signatures: uint64 [N], the set of bytes that occur, folded to 64 bits.
    """

    texts: Sequence[bytes]
    lengths: np.ndarray
    signatures: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> "ByteStrings":
        stripped = [text.replace(b" ", b"") for text in texts]
        return cls(
            stripped,
            np.fromiter(map(len, stripped), np.int64, len(stripped)),
            np.fromiter(map(_signature, stripped), np.uint64, len(stripped)),
        )

    def padded(self, which: np.ndarray, width: int) -> np.ndarray:
        """The strings `which`, none longer than `width`, padded with zeros: uint8 [len(which), width]."""
        joined = b"".join(self.texts[k].ljust(width, b"\0") for k in which.tolist())
        return np.frombuffer(joined, dtype=np.uint8).reshape(len(which), width)


def _signature(text: bytes) -> int:
    bits = 0
    for byte in set(text):
        bits |= 1 << (byte & 63)
    return bits


def lower_bounds(ours: ByteStrings, theirs: ByteStrings, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A lower bound of the distance of ``ours[left]`` and ``theirs[right]``: int64 [pairs].

    An edit changes the length by at most one, and removes or adds at most one byte.
    """
    a, b = ours.signatures[left], theirs.signatures[right]
    lacking = np.maximum(np.bitwise_count(a & ~b), np.bitwise_count(b & ~a))
    return np.maximum(np.abs(ours.lengths[left] - theirs.lengths[right]), lacking.astype(np.int64))


def edit_distances(ours: ByteStrings, theirs: ByteStrings, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The distance of ``ours[left]`` and ``theirs[right]``: int64 [pairs]."""
    distances = np.zeros(len(left), dtype=np.int64)
    longest = np.maximum(ours.lengths[left], theirs.lengths[right])
    buckets = np.ceil(np.log2(np.maximum(longest, 1))).astype(np.int64)  # a long pair must not widen all tables
    for bucket in np.unique(buckets):
        at = np.flatnonzero(buckets == bucket)
        distances[at] = _levenshtein(ours, theirs, left[at], right[at], 2 ** int(bucket))
    return distances


def _levenshtein(ours: ByteStrings, theirs: ByteStrings, left: np.ndarray, right: np.ndarray, width: int) -> np.ndarray:
    """The usual table, row by row, for all pairs side by side."""
    a, b = ours.padded(left, width), theirs.padded(right, width)
    rows, columns = ours.lengths[left], theirs.lengths[right]
    above = np.repeat(np.arange(width + 1)[:, None], len(left), axis=1)
    distances = above[columns, np.arange(len(left))]  # if ours is empty
    for row in range(1, width + 1):
        current = np.empty_like(above)
        current[0] = row
        for column in range(1, width + 1):
            swapped = above[column - 1] + (a[:, row - 1] != b[:, column - 1])
            current[column] = np.minimum(np.minimum(above[column], current[column - 1]) + 1, swapped)
        ended = rows == row
        distances[ended] = current[columns[ended], np.flatnonzero(ended)]
        above = current
    return distances


def normalised(distances: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Distances divided by the sum of both lengths; 0 if both strings are empty. float64 [pairs]."""
    return distances / np.maximum(total, 1)
