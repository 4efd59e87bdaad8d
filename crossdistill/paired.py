"""How a teacher reads what a student wrote: the student's sampled ids, the teacher's own, and the chunks they share."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crossdistill.align import Alignment, align_around_batch
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class PairedTokenization:
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
    def of(cls, student: ByteVocab, ids: Iterable[int], teacher: ByteVocab) -> "PairedTokenization":
        """Decode the student's `ids`, encode the bytes for the teacher, and align.

        The ids must all carry bytes: leave stop and special tokens out (:func:`crossdistill.chat.split_response`).
        """
        return cls.of_batch(student, [ids], teacher)[0]

    @classmethod
    def of_batch(
        cls, student: ByteVocab, batch: Iterable[Iterable[int]], teacher: ByteVocab
    ) -> list["PairedTokenization"]:
        """Of several texts, aligned at once."""
        rows = [np.fromiter(ids, dtype=np.int64) for ids in batch]
        data = [student.decode(ids) for ids in rows]
        encodings = [teacher.encode(text) for text in data]
        known = [np.delete(np.arange(len(item.ids)), item.in_holes) for item in encodings]
        teacher_ends = [item.ends[kept] for item, kept in zip(encodings, known, strict=True)]
        holes = [item.holes for item in encodings]
        selections = align_around_batch([student.ends(ids) for ids in rows], teacher_ends, holes)
        return [
            cls(text, encoding, selection.alignment, selection.student, kept[selection.teacher])
            for text, encoding, selection, kept in zip(data, encodings, selections, known, strict=True)
        ]

    @property
    def num_supervised_bytes(self) -> int:
        return int(self.alignment.byte_splits[-1])
