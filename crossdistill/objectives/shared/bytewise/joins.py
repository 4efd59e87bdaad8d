"""Student tokens that the teacher would have joined to its token before.

A tokenizer that has ``hello`` hardly writes ``hel`` and then ``lo``: its token ``hel`` says that no ``lo`` follows, so
that the small probability of ``lo`` after it says nothing of the text ``hello``. A student token v is joined, after
the teacher token t and the bytes r already read of the next one, if some teacher token begins with t and goes on as r v
does: it ends within r v, or r v ends within it.

Shapes: R positions, V_S the student's vocabulary, M its tokens that carry bytes.
"""

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import segment_indices
from crossdistill.objectives.shared.bytewise.prefix_ranges import PrefixRanges, range_of
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.vocab_pair import VocabPair

Ranges = list[tuple[int, int]]
_EVERYTHING: Ranges = [(0, -1)]


class Joins:
    """The joined tokens of a pair, as ranges of the student's tokens in the order of their bytes.

    Args:
        pair: both vocabularies.
        tables: their tables.
    """

    def __init__(self, pair: VocabPair, tables: BytePrefixes):
        self._teacher = tables
        self._student = PrefixRanges(pair.student.pieces, pair.student_stops)
        self.rank = self._student.rank
        self._known: dict[tuple[bytes, bytes], Ranges] = {}

    def ranges(self, before: bytes, read: bytes) -> Ranges:
        """Of student tokens that are joined to a teacher token of the bytes `before`; computed once.

        Args:
            before: of the teacher token before; empty if there is none, and then nothing is joined.
            read: of the next one.
        """
        key = before, read
        if key not in self._known:
            found = sorted({*self._joined(before, read)}) if before else []
            is_all = any(high < 0 for _, high in found)
            self._known[key] = [(0, len(self._student.order))] if is_all else _merged(found)
        return self._known[key]

    def _joined(self, before: bytes, read: bytes) -> Iterator[tuple[int, int]]:
        pieces, size = self._student.sorted_pieces, len(before)
        begun: set[bytes] = set()
        for piece in self._teacher.sorted_pieces[slice(*self._teacher.within(before))]:
            rest = piece[size:]
            if not rest:
                continue
            if read.startswith(rest):  # it ends before the student token begins
                yield from _EVERYTHING
                return
            if not rest.startswith(read):
                continue
            rest = rest[len(read) :]
            yield self._student.within(rest)
            for length in range(1, len(rest)):
                start = rest[:length]
                if start not in begun:
                    begun.add(start)
                    low, high = range_of(pieces, start)
                    yield low, range_of(pieces, start + b"\x00", low, high)[0] if low < high else low


def _merged(ranges: Ranges) -> Ranges:
    found: Ranges = []
    for low, high in ranges:
        if high <= low:
            continue
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


class JoinedTokens:
    """Which student tokens are joined at some positions.

    Args:
        joins: of the pair.
        keys: the bytes of the teacher token before and those already read of the next one, at each position.
        device: where the mask is wanted.
    """

    def __init__(self, joins: Joins, keys: Sequence[tuple[bytes, bytes]], device: torch.device):
        known = {key: joins.ranges(*key) for key in dict.fromkeys(keys)}
        offsets = dict(zip(known, np.cumsum([0, *map(len, known.values())])[:-1].tolist(), strict=True))
        ends = np.array([one for ranges in known.values() for one in ranges], dtype=np.int64).reshape(-1, 2)
        self._low, self._high = (to_tensor(side, device) for side in ends.T)
        rows = [(len(known[key]), offsets[key]) for key in keys]
        self._sizes, self._offsets = torch.tensor(rows, device=device).reshape(-1, 2).long().unbind(-1)
        self._rank, self._width = to_tensor(joins.rank, device), int(joins.rank.max(initial=-1)) + 2

    def __call__(self, numbers: Tensor) -> Tensor:
        """bool [R, V_S]; False for tokens without bytes."""
        rows, terms = segment_indices(self._sizes[numbers])
        here = self._offsets[numbers][rows] + terms
        steps = torch.zeros(len(numbers), self._width, dtype=torch.int32, device=numbers.device)
        ones = torch.ones_like(here, dtype=torch.int32)
        for ends, step in ((self._low, ones), (self._high, -ones)):
            steps.view(-1).index_add_(0, rows * self._width + ends[here], step)
        return steps.cumsum_(-1)[:, self._rank].gt(0) & (self._rank >= 0)


def keys_of(batch: AlignedBatch, offsets: TokenOffsets, tokens: np.ndarray) -> list[tuple[bytes, bytes]]:
    """For some student tokens, the teacher token before the one in which each begins, and the bytes read of that one.

    Args:
        batch: aligned responses.
        offsets: of it.
        tokens: int64, the student tokens.
    """
    firsts = {*batch.alignment.teacher_splits[batch.response_splits[:-1]].tolist()}
    pieces, ids = batch.pair.teacher.pieces, batch.teacher.ids.tolist()
    rows = offsets.rows[tokens].tolist()
    before = [b"" if row in firsts else pieces[ids[row - 1]] for row in rows]
    return list(zip(before, offsets.prefixes(tokens), strict=True))


_JOINS: "WeakKeyDictionary[VocabPair, Joins]" = WeakKeyDictionary()


def joins_of(pair: VocabPair) -> Joins:
    """The joins of a pair, whose ranges are kept."""
    if pair not in _JOINS:
        _JOINS[pair] = Joins(pair, prefixes_of(pair))
    return _JOINS[pair]
