"""The teacher tokens that a student token begins and does not finish."""

from bisect import bisect_right
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of
from crossdistill.objectives.shared.bytewise.prefix_ranges import PrefixRanges, range_of
from crossdistill.objectives.shared.vocab_pair import VocabPair


class Completions(NamedTuple):
    """E unfinished teacher tokens that one more student token can complete: one that begins with the rest.

    Attributes:
        places: int64 [E], the place of each in ``UnfinishedTokens.order``, ascending.
        low: int64 [E], the first of its completing tokens in the order of ``UnfinishedTokens.student``.
        sizes: int64 [E], how many there are.
    """

    places: np.ndarray
    low: np.ndarray
    sizes: np.ndarray


class UnfinishedTokens:
    """T(s) for every student token s: the teacher tokens that begin with the bytes of s and are longer.

    Attributes:
        order: int64 [M], the teacher's token ids in an order in which each T(s) is a range, sorted by bytes.
        pieces: their bytes.
        student: the student's vocabulary sorted by bytes.

    Args:
        pair: both vocabularies.
        is_routed: whether T(s) has only the tokens whose probability byte-prefix targets give to s, because no longer
            student token fits; otherwise it has all that begin with s.
    """

    def __init__(self, pair: VocabPair, is_routed: bool):
        self._tables, self._is_routed = prefixes_of(pair), is_routed
        columns = self._tables.columns(b"")
        by_column = np.argsort(columns, kind="stable") if is_routed else np.arange(len(columns))
        self._columns = columns[by_column]
        self.order = self._tables.order[by_column]
        self.pieces = [self._tables.sorted_pieces[place] for place in by_column.tolist()]
        self.student = PrefixRanges(pair.student.pieces, pair.student_stops)
        self._completions: dict[bytes, Completions] = {}

    def of(self, piece: bytes) -> tuple[int, int]:
        """The range of T(s) in `order`, for the student token with these bytes."""
        if self._is_routed:
            column = self._tables.column(piece)
            low, high = np.searchsorted(self._columns, [column, column + 1]).tolist()
        else:
            low, high = self._tables.within(piece)
        return bisect_right(self.pieces, piece, low, high), high  # those of the same bytes are finished

    def continued(self, piece: bytes, data: bytes) -> tuple[int, int]:
        """The range of those in T(s) that go on with `data` and do not end with it."""
        low, high = range_of(self.pieces, piece + data, *self.of(piece))
        return bisect_right(self.pieces, piece + data, low, high), high

    def completions(self, piece: bytes) -> Completions:
        """Those in T(s) that one more student token can complete; computed once."""
        if piece not in self._completions:
            found = []
            for place in range(*self.of(piece)):
                low, high = self.student.within(self.pieces[place][len(piece) :])
                if high > low:
                    found.append((place, low, high - low))
            self._completions[piece] = Completions(*np.array(found, dtype=np.int64).reshape(-1, 3).T)
        return self._completions[piece]


_TABLES: "WeakKeyDictionary[VocabPair, dict[bool, UnfinishedTokens]]" = WeakKeyDictionary()


def unfinished_of(pair: VocabPair, is_routed: bool) -> UnfinishedTokens:
    """The tables of a pair, built once."""
    tables = _TABLES.setdefault(pair, {})
    if is_routed not in tables:
        tables[is_routed] = UnfinishedTokens(pair, is_routed)
    return tables[is_routed]
