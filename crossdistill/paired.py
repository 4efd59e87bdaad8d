"""A student's text in both models' tokens: the sampled ids, the teacher's ids of the same bytes, and their chunks."""

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
        encoding: all of the teacher's tokens of these bytes, as the teacher is given them, unknown tokens included.
        alignment: the chunks that both sides encode completely.
        student_positions: int64, positions of the alignment's tokens in the student's ids. Every other student token is
            lost: its chunk has a byte that the teacher cannot encode.
        teacher_positions: int64, positions of the alignment's tokens in ``encoding.ids``.

    Example:
        >>> from crossdistill.tokens import World
        >>> single_bytes = {byte: bytes([byte]) for byte in range(256)}
        >>> student = ByteVocab.from_tokenizer(World({**single_bytes, 256: b"he", 257: b"llo"}))
        >>> teacher = ByteVocab.from_tokenizer(World({**single_bytes, 256: b"hello"}))
        >>> paired = PairedTokenization.of(student, [256, 257, 33], teacher)
        >>> paired.data, paired.encoding.ids.tolist(), paired.alignment.student_sizes.tolist()
        (b'hello!', [256, 33], [2, 1])
    """

    data: bytes
    encoding: Encoding
    alignment: Alignment
    student_positions: np.ndarray
    teacher_positions: np.ndarray

    @classmethod
    def of(cls, student: ByteVocab, ids: Iterable[int], teacher: ByteVocab) -> "PairedTokenization":
        """Decode the student's ids, encode the bytes for the teacher, and align.

        Args:
            student: the student's vocabulary.
            ids: sampled ids that all carry bytes: leave out stop and special tokens
                (:func:`crossdistill.chat.split_response`). Without ids there are no chunks.
            teacher: the teacher's vocabulary.
        """
        return cls.of_batch(student, [ids], teacher)[0]

    @classmethod
    def of_batch(
        cls, student: ByteVocab, batch: Iterable[Iterable[int]], teacher: ByteVocab
    ) -> list["PairedTokenization"]:
        """:meth:`of` for several texts, aligned at once."""
        rows = [np.fromiter(ids, dtype=np.int64) for ids in batch]
        data = [student.decode(ids) for ids in rows]
        encodings = [teacher.encode(text) for text in data]
        known = [_known_positions(encoding) for encoding in encodings]
        teacher_ends = [item.ends[kept] for item, kept in zip(encodings, known, strict=True)]
        spans = [item.unencodable_spans for item in encodings]
        selections = align_around_batch([student.ends(ids) for ids in rows], teacher_ends, spans)
        return [
            cls(text, encoding, selection.alignment, selection.student, kept[selection.teacher])
            for text, encoding, selection, kept in zip(data, encodings, selections, known, strict=True)
        ]

    @property
    def num_supervised_bytes(self) -> int:
        """Bytes that lie in a chunk."""
        return int(self.alignment.byte_splits[-1])


def _known_positions(encoding: Encoding) -> np.ndarray:
    """Positions of the tokens that are not unknown."""
    positions = np.arange(len(encoding.ids))
    lost = encoding.unencodable_positions
    return np.delete(positions, lost) if len(lost) else positions
