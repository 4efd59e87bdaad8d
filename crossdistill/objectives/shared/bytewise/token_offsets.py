"""Where the student's tokens begin inside the teacher's.

Shapes: C chunks, N_S student tokens, N_T teacher tokens. Chunks are minimal, so a student token that is not the first
of its chunk begins strictly inside a teacher token.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from crossdistill.objectives.shared.inputs import AlignedBatch

_STOP = b"\x00"  # place-holder for the one byte of a stop unit


@dataclass(frozen=True)
class TokenOffsets:
    """The position of each student token in the teacher's tokens.

    Attributes:
        chunks: int64 [N_S], the chunk of each student token.
        rows: int64 [N_S], the teacher token in which it begins.
        offsets: int64 [N_S], the bytes of that teacher token before it; 0 for the first token of a chunk.
        is_verbatim: bool [C], whether the bytes of each teacher token of a chunk are the text that it covers. They are
            not if the teacher's normaliser rewrites the text: then nothing is known of the insides of its tokens.
        data: the bytes of all chunks, with a place-holder for each stop unit.
        starts: int64 [N_S], the bytes before each student token in `data`.
        teacher_ends: int64 [N_T], the end of each teacher token in `data`.
    """

    chunks: np.ndarray
    rows: np.ndarray
    offsets: np.ndarray
    is_verbatim: np.ndarray
    data: bytes
    starts: np.ndarray
    teacher_ends: np.ndarray

    @classmethod
    def of(cls, batch: AlignedBatch) -> "TokenOffsets":
        alignment = batch.alignment
        chunks = np.repeat(np.arange(alignment.num_chunks), alignment.student_sizes)
        data = b"".join(_pieces(batch, batch.student.ids, alignment.student_splits, batch.pair.student.pieces))
        starts = np.append(0, batch.student.ends.cpu().numpy())[:-1]
        ends = batch.teacher.ends.cpu().numpy()
        rows = np.searchsorted(ends, starts, side="right")
        teacher_starts = np.append(0, ends)[:-1]
        is_first = starts == alignment.byte_splits[chunks]
        rows = np.where(is_first, alignment.teacher_splits[chunks], rows)
        offsets = np.where(is_first, 0, starts - teacher_starts[rows])
        return cls(chunks, rows, offsets, _is_verbatim(batch, data, ends), data, starts, ends)

    @property
    def inner(self) -> np.ndarray:
        """Student tokens that begin inside a teacher token whose bytes are known, int64, ascending."""
        return np.flatnonzero((self.offsets > 0) & self.is_verbatim[self.chunks])

    @property
    def first(self) -> np.ndarray:
        """Student tokens that begin where a teacher token begins, int64, ascending: the first of every chunk."""
        return np.flatnonzero(self.offsets == 0)

    def prefixes(self, tokens: np.ndarray) -> list[bytes]:
        """For each of these student tokens, the bytes before it of the teacher token in which it begins."""
        ends = self.starts[tokens]
        spans = zip((ends - self.offsets[tokens]).tolist(), ends.tolist(), strict=True)
        return [self.data[start:end] for start, end in spans]


def _pieces(batch: AlignedBatch, ids: Tensor, splits: np.ndarray, vocabulary: tuple[bytes, ...]) -> list[bytes]:
    """The bytes of each token, with the place-holder for those of stop units."""
    pieces = [vocabulary[token_id] for token_id in ids.tolist()]
    for token in splits[:-1][batch.is_stop].tolist():
        pieces[token] = _STOP
    return pieces


def _is_verbatim(batch: AlignedBatch, data: bytes, ends: np.ndarray) -> np.ndarray:
    splits = batch.alignment.teacher_splits
    pieces = _pieces(batch, batch.teacher.ids, splits, batch.pair.teacher.pieces)
    sizes = np.diff(ends, prepend=0)
    same = (sizes > 0) & (sizes == np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces)))
    if not (same.all() and data == b"".join(pieces)):
        starts = (ends - sizes).tolist()
        spans = zip(pieces, starts, ends.tolist(), strict=True)
        same &= np.array([data[start:end] == piece for piece, start, end in spans], dtype=bool)
    return np.logical_and.reduceat(same, splits[:-1]) if len(splits) > 1 else np.zeros(0, dtype=bool)
