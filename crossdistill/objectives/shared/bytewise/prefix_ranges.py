"""A vocabulary sorted by bytes, in which the tokens that begin with given bytes are neighbours."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np


class PrefixRanges:
    """The tokens of a vocabulary that begin with given bytes.

    Shapes: V the vocabulary; M tokens that carry bytes.

    Attributes:
        order: int64 [M], the token ids sorted by their bytes.
        rank: int64 [V], the position of each token in `order`; -1 for tokens that are not in it.
        sorted_pieces: the bytes of the tokens in `order`.

    Args:
        pieces: the bytes of each token; those without bytes are in no range.
        stops: tokens that carry no bytes here, whatever their names.
    """

    def __init__(self, pieces: Sequence[bytes], stops: Iterable[int]):
        kept = np.array(pieces, dtype=object)
        kept[list(stops)] = b""
        self.order = np.array(sorted(np.flatnonzero(kept), key=kept.__getitem__), dtype=np.int64)
        self.rank = np.full(len(kept), -1)
        self.rank[self.order] = np.arange(len(self.order))
        self.sorted_pieces: list[bytes] = kept[self.order].tolist()

    def within(self, prefix: bytes) -> tuple[int, int]:
        """The range in `order` of the tokens that begin with `prefix`; empty if there are none."""
        return range_of(self.sorted_pieces, prefix)


def range_of(pieces: Sequence[bytes], prefix: bytes, low: int = 0, high: int | None = None) -> tuple[int, int]:
    """The range of those that begin with `prefix` among ``pieces[low:high]``, which are sorted."""
    after, high = _successor(prefix), len(pieces) if high is None else high
    low = bisect_left(pieces, prefix, low, high)
    return low, high if after is None else bisect_left(pieces, after, low, high)


def _successor(prefix: bytes) -> bytes | None:
    """The smallest byte string after all that begin with `prefix`; None if there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None
