"""Examples from the documents: the largest chunks, rewritten text, and tokens that are never 1:1."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from crossdistill.inspection.measure import ReadDocument
from crossdistill.tokens import ByteVocab, Encoding

_CONTEXT_BYTES = 24
_NUM_OF_DOCUMENT = 2


@dataclass(frozen=True)
class ChunkExample:
    """A chunk in its context.

    Attributes:
        document: title of its document.
        student: the bytes of the student's tokens.
        teacher: the bytes of the teacher's tokens.
        before: some bytes of text before it; no character is cut.
        after: some bytes of text after it.
    """

    document: str
    student: tuple[bytes, ...]
    teacher: tuple[bytes, ...]
    before: bytes
    after: bytes

    @property
    def size(self) -> int:
        """Tokens of both sides together."""
        return len(self.student) + len(self.teacher)


@dataclass(frozen=True)
class Rewrite:
    """Text that a tokenizer's own normaliser changed.

    Attributes:
        document: title of its document.
        given: the bytes that were encoded.
        decoded: the bytes of the resulting ids.
    """

    document: str
    given: bytes
    decoded: bytes


@dataclass(frozen=True)
class NeverOneToOne:
    """A student token that occurs in the documents, but never in a 1:1 chunk.

    Attributes:
        piece: its bytes.
        count: how often it occurs.
    """

    piece: bytes
    count: int


def largest_chunks(
    read: Iterable[ReadDocument], student: ByteVocab, teacher: ByteVocab, number: int
) -> list[ChunkExample]:
    """The chunks with the most tokens, both sides together, largest first; at most two per document, and none 1:1.

    Args:
        read: the documents in both models' tokens.
        student: the student's vocabulary.
        teacher: the teacher's vocabulary.
        number: of chunks to return at most.
    """
    found = [example for item in read for example in _largest_of(item, student, teacher, _NUM_OF_DOCUMENT)]
    return sorted(found, key=lambda example: -example.size)[:number]


def _largest_of(item: ReadDocument, student: ByteVocab, teacher: ByteVocab, number: int) -> Iterator[ChunkExample]:
    paired = item.reading
    alignment, data = paired.alignment, paired.data
    sizes = alignment.student_sizes + alignment.teacher_sizes
    ends = student.ends(item.ids)
    for chunk in np.argsort(-sizes, kind="stable")[:number]:
        if alignment.is_one_to_one[chunk]:
            return
        ours = paired.student_positions[slice(*alignment.student_splits[chunk : chunk + 2])]
        theirs = paired.teacher_positions[slice(*alignment.teacher_splits[chunk : chunk + 2])]
        first, last = int(ends[ours[0]]) - len(student.pieces[item.ids[ours[0]]]), int(ends[ours[-1]])
        yield ChunkExample(
            item.document.title,
            tuple(student.pieces[token_id] for token_id in item.ids[ours]),
            tuple(teacher.pieces[token_id] for token_id in paired.encoding.ids[theirs]),
            _from_character(data[max(0, first - _CONTEXT_BYTES) : first]),
            _to_character(data[last : last + _CONTEXT_BYTES]),
        )


def student_rewrites(read: Iterable[ReadDocument], student: ByteVocab) -> list[Rewrite]:
    """Places where the student's own tokenizer changes the documents."""
    return [
        rewrite
        for item in read
        for rewrite in _rewrites(item.document.title, item.document.data, item.encoding, student)
    ]


def teacher_rewrites(read: Iterable[ReadDocument], teacher: ByteVocab) -> list[Rewrite]:
    """Places where the teacher's tokenizer changes what the student writes."""
    return [
        rewrite
        for item in read
        for rewrite in _rewrites(item.document.title, item.reading.data, item.reading.encoding, teacher)
    ]


def _rewrites(document: str, data: bytes, encoding: Encoding, vocab: ByteVocab) -> Iterator[Rewrite]:
    """Runs of tokens whose bytes differ from those that they cover; unknown tokens do not count."""
    known = np.flatnonzero(vocab.lengths[encoding.ids] > 0)
    starts = _starts(encoding)[known].tolist()
    spans = zip(encoding.ids[known].tolist(), starts, encoding.ends[known].tolist(), strict=True)
    tokens = [(vocab.pieces[token_id], data[start:end]) for token_id, start, end in spans]
    for is_same, run in groupby(tokens, key=lambda token: token[0] == token[1]):
        if not is_same:
            decoded, given = (b"".join(parts) for parts in zip(*run, strict=True))
            yield Rewrite(document, given, decoded)


def _starts(encoding: Encoding) -> np.ndarray:
    """Byte offset at which each token starts: the end of the token before it, or of an unencodable span in between."""
    starts = np.append(0, encoding.ends[:-1])
    if len(encoding.unencodable_spans) == 0:
        return starts
    span = np.maximum(np.searchsorted(encoding.unencodable_spans[:, 0], starts, side="right") - 1, 0)
    first, last = encoding.unencodable_spans[span].T
    return np.where((first <= starts) & (starts < last), last, starts)


def never_one_to_one(read: Sequence[ReadDocument], student: ByteVocab) -> list[NeverOneToOne]:
    """The student's tokens that occur in the documents and are never in a 1:1 chunk, the most frequent first."""
    empty = np.zeros(0, dtype=np.int64)
    counts = np.bincount(np.concatenate([empty, *(item.ids for item in read)]), minlength=len(student))
    one_to_one = np.concatenate([empty, *(item.ids[item.one_to_one_positions] for item in read)])
    counts[one_to_one] = 0
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return [NeverOneToOne(student.pieces[token_id], int(counts[token_id])) for token_id in order]


def _from_character(data: bytes) -> bytes:
    """`data` without the rest of a character that is cut at its start."""
    return data.lstrip(bytes(range(0x80, 0xC0))) if len(data) == _CONTEXT_BYTES else data


def _to_character(data: bytes) -> bytes:
    """`data` without the beginning of a character that is cut at its end; other invalid bytes stay."""
    for length in range(1, 4):
        lead = data[-length:][:1]
        if lead >= b"\xc0":
            expected = 2 if lead < b"\xe0" else 3 if lead < b"\xf0" else 4
            return data[:-length] if length < expected else data
        if lead < b"\x80":
            return data
    return data
