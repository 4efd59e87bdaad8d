"""How a teacher reads what a student writes, measured on documents."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossdistill.inspection.documents import Document, corpus
from crossdistill.paired import PairedTokenization
from crossdistill.tokens import ByteVocab, Encoding

TOLERANCE = 0.05
"""How far the coverage of a run may stay below what the corpus promises: its texts are others, and it has contexts."""


@dataclass(frozen=True)
class ReadDocument:
    """A document as the student would write it, and how the teacher reads that.

    encoding: the document in the student's tokens. ids: those with bytes, int64; bytes that none of its entries spells
    are not among them: it can never write them. reading: of these ids.
    """

    document: Document
    encoding: Encoding
    ids: np.ndarray
    reading: PairedTokenization

    @classmethod
    def of(cls, document: Document, student: ByteVocab, teacher: ByteVocab) -> "ReadDocument":
        encoding = student.encode(document.data)
        ids = encoding.ids[student.lengths[encoding.ids] > 0]
        return cls(document, encoding, ids, PairedTokenization.of(student, ids, teacher))

    @property
    def one_to_one_positions(self) -> np.ndarray:
        """Where the student's tokens in 1:1 chunks stand in `ids`, int64."""
        alignment = self.reading.alignment
        return self.reading.student_positions[alignment.student_splits[:-1][alignment.is_one_to_one]]


@dataclass
class Measure:
    """Sums over documents: tokens, bytes and chunks as named.

    bytes: that the student writes. supervised_bytes: those in chunks that both sides spell. unwritable_bytes: of the
    documents, not among `bytes`, because no entry of the student spells them. one_to_one_tokens: student tokens in
    1:1 chunks. chunks: (student tokens, teacher tokens) -> number of chunks of that size.
    """

    bytes: int = 0
    supervised_bytes: int = 0
    unwritable_bytes: int = 0
    student_tokens: int = 0
    teacher_tokens: int = 0
    one_to_one_tokens: int = 0
    chunks: Counter[tuple[int, int]] = field(default_factory=Counter)

    @classmethod
    def of(cls, documents: Iterable[ReadDocument]) -> "Measure":
        total = cls()
        for read in documents:
            total._add(read)
        return total

    def _add(self, read: ReadDocument) -> None:
        alignment = read.reading.alignment
        self.bytes += len(read.reading.data)
        self.supervised_bytes += read.reading.num_supervised_bytes
        self.unwritable_bytes += int(np.diff(read.encoding.holes).sum())
        self.student_tokens += len(read.ids)
        self.teacher_tokens += len(read.reading.encoding.ids)
        self.one_to_one_tokens += int(alignment.is_one_to_one.sum())
        self.chunks.update(zip(alignment.student_sizes.tolist(), alignment.teacher_sizes.tolist(), strict=True))

    @property
    def num_chunks(self) -> int:
        return self.chunks.total()

    @property
    def coverage(self) -> float:
        """Share of the student's bytes that are supervised; 1.0 where it writes none."""
        return self.supervised_bytes / self.bytes if self.bytes else 1.0

    @property
    def one_to_one_share(self) -> float:
        """Share of the student's tokens that lie in 1:1 chunks; 1.0 where there are none."""
        return self.one_to_one_tokens / self.student_tokens if self.student_tokens else 1.0

    @property
    def shared_credit_share(self) -> float:
        """Share of the student's tokens in chunks of several student tokens, which share their chunk's credit."""
        shared = sum(student * number for (student, _), number in self.chunks.items() if student > 1)
        return shared / self.student_tokens if self.student_tokens else 0.0

    @property
    def largest_chunk(self) -> tuple[int, int]:
        """(student tokens, teacher tokens) of the chunk with the most; (0, 0) where there is none."""
        return max(self.chunks, key=lambda size: (sum(size), size), default=(0, 0))


def read_documents(
    student: ByteVocab, teacher: ByteVocab, documents: Sequence[Document] | None = None
) -> list[ReadDocument]:
    """Every document (of the shipped corpus where none are given) in both models' tokens."""
    return [ReadDocument.of(item, student, teacher) for item in (corpus() if documents is None else documents)]


def minimum_coverage(promised: float) -> float:
    """What a run must reach where `promised` is what its pair promises."""
    return max(0.0, promised - TOLERANCE)


def expected_coverage(student: ByteVocab, teacher: ByteVocab) -> float:
    """Share of the bytes of the shipped corpus, as the student writes it, that this teacher can supervise."""
    return Measure.of(read_documents(student, teacher)).coverage
