"""How a teacher reads a student's tokens: coverage and chunk sizes on a corpus."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from crossdistill.inspection.documents import Document, corpus
from crossdistill.paired import PairedTokenization
from crossdistill.tokens import ByteVocab, Encoding

TOLERANCE = 0.05
"""How far the coverage of a run may fall below that of the corpus: its texts differ, and they stand in a context."""


@dataclass(frozen=True)
class ReadDocument:
    """A document in both models' tokens.

    Attributes:
        document: the document.
        encoding: the document in the student's tokens.
        ids: the student's tokens that carry bytes, int64. They leave out bytes that no entry of the student can encode,
            since it can never write them.
        reading: these ids, paired with the teacher's tokens of the same bytes.
    """

    document: Document
    encoding: Encoding
    ids: np.ndarray
    reading: PairedTokenization

    @classmethod
    def of(cls, document: Document, student: ByteVocab, teacher: ByteVocab) -> "ReadDocument":
        """Encode a document with the student's vocabulary, and its text with the teacher's."""
        encoding = student.encode(document.data)
        ids = encoding.ids[student.lengths[encoding.ids] > 0]
        return cls(document, encoding, ids, PairedTokenization.of(student, ids, teacher))

    @property
    def one_to_one_positions(self) -> np.ndarray:
        """Positions in `ids` of the student's tokens in 1:1 chunks, int64."""
        alignment = self.reading.alignment
        return self.reading.student_positions[alignment.student_splits[:-1][alignment.is_one_to_one]]


@dataclass
class Measure:
    """Counts over documents: bytes, tokens and chunks.

    Attributes:
        bytes: bytes that the student writes.
        supervised_bytes: bytes in chunks, which both models can encode.
        unwritable_bytes: bytes of the documents that no entry of the student can encode; not among `bytes`.
        student_tokens: tokens of the student that carry bytes.
        teacher_tokens: tokens of the teacher.
        one_to_one_tokens: student tokens in 1:1 chunks.
        chunks: (student tokens, teacher tokens) -> number of chunks of that size.

    Example:
        >>> measure = Measure(student_tokens=5, one_to_one_tokens=1, chunks=Counter({(1, 1): 1, (4, 1): 1}))
        >>> measure.num_chunks, measure.one_to_one_share, measure.shared_credit_share
        (2, 0.2, 0.8)
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
        """The sums over these documents."""
        total = cls()
        for read in documents:
            total._add(read)
        return total

    def _add(self, read: ReadDocument) -> None:
        alignment = read.reading.alignment
        self.bytes += len(read.reading.data)
        self.supervised_bytes += read.reading.num_supervised_bytes
        self.unwritable_bytes += int(np.diff(read.encoding.unencodable_spans).sum())
        self.student_tokens += len(read.ids)
        self.teacher_tokens += len(read.reading.encoding.ids)
        self.one_to_one_tokens += int(alignment.is_one_to_one.sum())
        self.chunks.update(zip(alignment.student_sizes.tolist(), alignment.teacher_sizes.tolist(), strict=True))

    @property
    def num_chunks(self) -> int:
        return self.chunks.total()

    @property
    def num_one_to_one(self) -> int:
        """Chunks of one token on each side."""
        return self.chunks[1, 1]

    @property
    def coverage(self) -> float:
        """Share of the student's bytes that are supervised; 1.0 if it writes none."""
        return self.supervised_bytes / self.bytes if self.bytes else 1.0

    @property
    def one_to_one_share(self) -> float:
        """Share of the student's tokens that lie in 1:1 chunks; 1.0 if there are no tokens."""
        return self.one_to_one_tokens / self.student_tokens if self.student_tokens else 1.0

    @property
    def shared_credit_share(self) -> float:
        """Share of the student's tokens in chunks of several student tokens, among which a chunk's credit is shared."""
        shared = sum(student * number for (student, _), number in self.chunks.items() if student > 1)
        return shared / self.student_tokens if self.student_tokens else 0.0

    @property
    def spanning_share(self) -> float:
        """Share of the student's tokens in chunks of several teacher tokens."""
        spanning = sum(student * number for (student, teacher), number in self.chunks.items() if teacher > 1)
        return spanning / self.student_tokens if self.student_tokens else 0.0

    @property
    def largest_chunk(self) -> tuple[int, int]:
        """(student tokens, teacher tokens) of the chunk with the most tokens; (0, 0) if there are no chunks."""
        return max(self.chunks, key=lambda size: (sum(size), size), default=(0, 0))


def read_documents(
    student: ByteVocab, teacher: ByteVocab, documents: Sequence[Document] | None = None
) -> list[ReadDocument]:
    """These documents, or those of the shipped corpus, in both models' tokens."""
    return [ReadDocument.of(item, student, teacher) for item in (corpus() if documents is None else documents)]


def minimum_coverage(expected: float) -> float:
    """The coverage that a run must reach, given that which is expected of its pair.

    Example:
        >>> round(minimum_coverage(0.98), 2)
        0.93
    """
    return max(0.0, expected - TOLERANCE)


def expected_coverage(student: ByteVocab, teacher: ByteVocab) -> float:
    """Share of the bytes of the shipped corpus, as the student writes it, that this teacher can supervise."""
    return Measure.of(read_documents(student, teacher)).coverage
