"""Tables of two vocabularies by the bytes that their tokens begin with.

Shapes: V_S, V_T vocabularies; M teacher tokens that carry bytes. A *column* is where the probability of a teacher token
goes: int64, a student token id (the smallest of several with the same bytes, and one stop token for all), or V_S for
the residual, if no student token fits.
"""

from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.prefix_ranges import PrefixRanges
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair


class BytePrefixes(PrefixRanges):
    """Which teacher tokens begin with given bytes, and which student token fits the remaining bytes of each.

    Attributes:
        residual: the column V_S.
        stop: the column of the student's stop tokens; the residual if the end of a response is not taught.
        groups: the student's ids of each column that has more than one.
        own: int64 [V_S], the column of each student token itself.
    """

    def __init__(self, pair: VocabPair):
        stops, self._teacher_stops = pair.student_stops, pair.teacher_stops
        self.residual = len(pair.student)
        self.stop = stops[0] if stops else self.residual
        without_stops = ([k for k in ids if k not in stops] for ids in pair.student_ids.values())
        groups = [ids for ids in without_stops if ids]
        self._column = {pair.student.pieces[ids[0]]: ids[0] for ids in groups}
        self._longest = max(map(len, self._column), default=0)
        several = [ids for ids in [*groups, stops] if len(ids) > 1]
        self.groups = Groups.of(several)
        self.own = np.arange(self.residual)
        for ids in several:
            self.own[list(ids)] = ids[0]
        super().__init__(pair.teacher.pieces, self._teacher_stops)
        self._columns: dict[bytes, np.ndarray] = {}

    def column(self, data: bytes) -> int:
        """The column of the longest student token that `data` begins with."""
        for size in range(min(len(data), self._longest), 0, -1):
            found = self._column.get(data[:size])
            if found is not None:
                return found
        return self.residual

    def longer(self, data: bytes, size: int) -> list[tuple[int, int]]:
        """(column, bytes) of the student tokens of more than `size` bytes that `data` begins with, ascending."""
        found = ((self._column.get(data[:k]), k) for k in range(size + 1, min(len(data), self._longest) + 1))
        return [(column, k) for column, k in found if column is not None]

    def columns(self, prefix: bytes) -> np.ndarray:
        """The column of the bytes after `prefix` of each token in ``order[slice(*within(prefix))]``; computed once."""
        if prefix not in self._columns:
            pieces, skip = self.sorted_pieces[slice(*self.within(prefix))], len(prefix)
            self._columns[prefix] = np.array([self.column(piece[skip:]) for piece in pieces], dtype=np.int64)
        return self._columns[prefix]

    def all_columns(self) -> np.ndarray:
        """The column of every teacher token, stop tokens included, before any byte is read: int64 [V_T]."""
        found = np.full(len(self.rank), self.residual)
        found[self.order] = self.columns(b"")
        found[list(self._teacher_stops)] = self.stop
        return found


def merge_columns(log_probs: Tensor, groups: Groups) -> Tensor:
    """Log of the total probability of every column except the residual: [R, V_S] -> [R, V_S], differentiable.

    The ids of :func:`duplicates` are not columns: ignore their entries.

    Args:
        log_probs: the student's.
        groups: ``BytePrefixes.groups``.
    """
    if not len(groups.first):
        return log_probs
    sums = log_probs[:, groups.ids.flatten()].unflatten(1, groups.ids.shape)
    return log_probs.index_copy(1, groups.first, sums.masked_fill(~groups.mask, -torch.inf).logsumexp(-1))


def duplicates(groups: Groups, num_tokens: int) -> Tensor:
    """Whether a student token's probability is counted in the column of another id: bool [V_S]."""
    found = torch.zeros(num_tokens, dtype=torch.bool, device=groups.first.device)
    found[groups.ids[groups.mask]] = True
    found[groups.first] = False
    return found


_TABLES: "WeakKeyDictionary[VocabPair, BytePrefixes]" = WeakKeyDictionary()


def prefixes_of(pair: VocabPair) -> BytePrefixes:
    """The tables of a pair, built once."""
    if pair not in _TABLES:
        _TABLES[pair] = BytePrefixes(pair)
    return _TABLES[pair]


def to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on a device."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
