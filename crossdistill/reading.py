"""How a teacher reads what a student wrote: the student's sampled ids, the teacher's own, and the chunks they share."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crossdistill.align import Alignment, align_around
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class Reading:
    """A text of the student in both models' tokens.

    Attributes:
        data: the exact bytes of the student's ids.
        encoding: all of the teacher's tokens of these bytes, its unknown tokens too: what it is shown.
        alignment: of the chunks that both sides spell whole.
        student_positions, teacher_positions: int64, where the alignment's tokens stand among the student's ids and
            in ``encoding.ids``. Every other student token is lost: its chunk has a byte that the teacher cannot spell.
    """

    data: bytes
    encoding: Encoding
    alignment: Alignment
    student_positions: np.ndarray
    teacher_positions: np.ndarray

    @classmethod
    def of(cls, student: ByteVocab, ids: Iterable[int], teacher: ByteVocab) -> "Reading":
        """Decode the student's `ids`, encode the bytes for the teacher, and align.

        The ids must all carry bytes: leave stop and special tokens out (:func:`crossdistill.chat.split_response`).
        """
        ids = np.fromiter(ids, dtype=np.int64)
        data = student.decode(ids)
        encoding = teacher.encode(data)
        known = np.delete(np.arange(len(encoding.ids)), encoding.in_holes)
        alignment, ours, theirs = align_around(student.ends(ids), encoding.ends[known], encoding.holes)
        return cls(data, encoding, alignment, ours, known[theirs])

    @property
    def num_supervised_bytes(self) -> int:
        return int(self.alignment.byte_splits[-1])
