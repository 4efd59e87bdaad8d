"""The alignment view: an aligned sample as plain data, for the terminal, the HTML page and JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from crossdistill.align import Alignment, DropReason
from crossdistill.report.format import display, plain, whole_characters
from crossdistill.tokens import ByteVocab

Kind = Literal["1:1", "1:n", "n:1", "n:m", "stop", "dropped"]


@dataclass(frozen=True)
class TokenView:
    """One token.

    Attributes:
        text: its bytes made readable.
        logprob: its log-probability in nats, if there is one.
        advantage: of a student token, in nats, if there is one; teacher tokens have none.
    """

    text: str
    logprob: float | None = None
    advantage: float | None = None


@dataclass(frozen=True)
class ChunkView:
    """Student and teacher tokens that encode the same bytes, or a stop pair, or a student token that was dropped.

    Attributes:
        student: the student's tokens.
        teacher: the teacher's tokens.
        kind: student tokens to teacher tokens: ``"1:n"`` is one student token that the teacher writes in several.
        text: the chunk's bytes made readable.
        byte_span: ``(start, end)`` in the aligned bytes of the response; empty for tokens outside them.
        reason: why a chunk of kind ``"dropped"`` has no teacher signal, else None.
        characters: the whole characters that the chunk's bytes belong to, if they are not text by themselves.
    """

    student: tuple[TokenView, ...]
    teacher: tuple[TokenView, ...]
    kind: Kind
    text: str
    byte_span: tuple[int, int]
    reason: str | None = None
    characters: str | None = None

    @property
    def is_mismatched(self) -> bool:
        return self.kind in ("1:n", "n:1", "n:m")

    @property
    def student_logprob(self) -> float | None:
        """Log-probability of the chunk under the student in nats; None if one of its tokens has none."""
        return _sum_logprobs(self.student)

    @property
    def teacher_logprob(self) -> float | None:
        """Log-probability of the chunk under the teacher in nats; None if one of its tokens has none."""
        return _sum_logprobs(self.teacher)

    @property
    def log_ratio(self) -> float | None:
        """Teacher's minus student's log-probability of the chunk in nats, which credit assignment distributes."""
        student, teacher = self.student_logprob, self.teacher_logprob
        return None if student is None or teacher is None else teacher - student


@dataclass(frozen=True)
class SampleView:
    """One response.

    Attributes:
        prompt: plain text.
        chunks: in the order of the response.
        note: plain text, shown above it.
    """

    prompt: str
    chunks: tuple[ChunkView, ...]
    note: str = ""

    @property
    def aligned_chunks(self) -> tuple[ChunkView, ...]:
        """The chunks that both models encode: without stop pairs and dropped tokens."""
        return tuple(chunk for chunk in self.chunks if chunk.kind == "1:1" or chunk.is_mismatched)

    @property
    def one_to_one_share(self) -> float:
        """Share of the aligned student tokens that lie in 1:1 chunks; 1.0 if there are none."""
        counts = [len(chunk.student) for chunk in self.aligned_chunks]
        num_one_to_one = sum(chunk.kind == "1:1" for chunk in self.chunks)
        return num_one_to_one / sum(counts) if counts else 1.0

    @property
    def largest_chunk(self) -> ChunkView | None:
        """The chunk with the most tokens, both sides together; the first of equals, None if nothing is aligned."""
        return max(self.aligned_chunks, key=lambda chunk: len(chunk.student) + len(chunk.teacher), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the inverse of :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> "SampleView":
        """The view that :meth:`as_dict` returned, also after a round trip through JSON.

        Raises:
            ValueError: any other data; the message names the first thing wrong with it.
        """
        try:
            view: SampleView = _views().validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
        for number, chunk in enumerate(view.chunks):
            sizes = len(chunk.student), len(chunk.teacher)
            if chunk.kind != "dropped" and (0 in sizes or chunk.kind not in ("stop", _kind(*sizes))):
                raise ValueError(
                    f"chunks.{number}: {sizes[0]} student and {sizes[1]} teacher tokens do not make a {chunk.kind} "
                    "chunk"
                )
        return view


@dataclass(frozen=True)
class DroppedToken:
    """A sampled student token that is not in the alignment.

    Attributes:
        before: index, among the aligned student tokens, of the next token; their number if it came last.
        text: how to show it; the name of a control token, which has no bytes.
        reason: why it has no teacher signal.
    """

    before: int
    text: str
    reason: DropReason


def sample_view(
    student_ids: Sequence[int] | np.ndarray,
    student_vocab: ByteVocab,
    teacher_ids: Sequence[int] | np.ndarray,
    teacher_vocab: ByteVocab,
    alignment: Alignment,
    *,
    prompt: str = "",
    note: str = "",
    student_logprobs: Sequence[float] | np.ndarray | None = None,
    teacher_logprobs: Sequence[float] | np.ndarray | None = None,
    advantages: Sequence[float] | np.ndarray | None = None,
    stop: tuple[TokenView, TokenView] | None = None,
    dropped: Sequence[DroppedToken] = (),
) -> SampleView:
    """The view of one response.

    Args:
        student_ids: the student's aligned tokens, without stop and special tokens: int [num student tokens].
        student_vocab: the student's vocabulary.
        teacher_ids: the teacher's aligned tokens: int [num teacher tokens].
        teacher_vocab: the teacher's vocabulary.
        alignment: of their bytes.
        prompt: plain text shown with the sample.
        note: plain text shown with the sample.
        student_logprobs: log-probability in nats of each student token given those before it, [num student tokens].
        teacher_logprobs: the same for the teacher, [num teacher tokens]. A chunk with a value that is not finite is
            shown as dropped.
        advantages: credit of each student token in nats, [num student tokens].
        stop: the student's and the teacher's end of the turn, if the student emitted one.
        dropped: sampled student tokens that are not in the alignment. One in the middle of a chunk is shown after it.

    Raises:
        ValueError: the number of ids or values is not the alignment's number of tokens.
    """
    student = _tokens(student_ids, student_vocab, student_logprobs, advantages)
    teacher = _tokens(teacher_ids, teacher_vocab, teacher_logprobs, None)
    if len(student) != alignment.student_splits[-1] or len(teacher) != alignment.teacher_splits[-1]:
        raise ValueError(
            f"{len(student)} student and {len(teacher)} teacher tokens, but the alignment has "
            f"{alignment.student_splits[-1]} and {alignment.teacher_splits[-1]}"
        )
    data = student_vocab.decode(student_ids)
    chunks = [_chunk(index, alignment, student, teacher, data) for index in range(alignment.num_chunks)]
    if teacher_logprobs is not None:
        chunks = [_without_signal(chunk) for chunk in chunks]
    merged = _with_dropped(chunks, alignment, dropped)
    if stop is not None:
        merged.append(ChunkView((stop[0],), (stop[1],), "stop", stop[0].text, (len(data), len(data))))
    return SampleView(plain(prompt), tuple(merged), plain(note))


def _tokens(
    ids: Sequence[int] | np.ndarray,
    vocab: ByteVocab,
    logprobs: Sequence[float] | np.ndarray | None,
    advantages: Sequence[float] | np.ndarray | None,
) -> list[TokenView]:
    texts = [display(vocab.pieces[int(token_id)]) for token_id in ids]
    columns = [_finite_or_none(values, len(texts)) for values in (logprobs, advantages)]
    return [TokenView(*fields) for fields in zip(texts, *columns, strict=True)]


def _finite_or_none(values: Sequence[float] | np.ndarray | None, length: int) -> list[float | None]:
    if values is None:
        return [None] * length
    if len(values) != length:
        raise ValueError(f"{len(values)} values for {length} tokens")
    return [float(value) if math.isfinite(value) else None for value in values]


def _chunk(
    index: int, alignment: Alignment, student: list[TokenView], teacher: list[TokenView], data: bytes
) -> ChunkView:
    first, last = alignment.student_splits[index : index + 2]
    teacher_first, teacher_last = alignment.teacher_splits[index : index + 2]
    start, end = (int(split) for split in alignment.byte_splits[index : index + 2])
    return ChunkView(
        student=tuple(student[first:last]),
        teacher=tuple(teacher[teacher_first:teacher_last]),
        kind=_kind(last - first, teacher_last - teacher_first),
        text=display(data[start:end]),
        byte_span=(start, end),
        characters=whole_characters(data, start, end),
    )


def _kind(num_student: int, num_teacher: int) -> Kind:
    if num_student == 1:
        return "1:1" if num_teacher == 1 else "1:n"
    return "n:1" if num_teacher == 1 else "n:m"


def _without_signal(chunk: ChunkView) -> ChunkView:
    """`chunk`, marked as dropped if a log-probability of the teacher is missing."""
    if chunk.teacher_logprob is not None:
        return chunk
    return ChunkView(
        chunk.student,
        chunk.teacher,
        "dropped",
        chunk.text,
        chunk.byte_span,
        DropReason.NON_FINITE.value,
        chunk.characters,
    )


def _with_dropped(chunks: list[ChunkView], alignment: Alignment, dropped: Sequence[DroppedToken]) -> list[ChunkView]:
    merged = list(chunks)
    positions = [int(np.searchsorted(alignment.student_splits, token.before)) for token in dropped]
    for offset, (position, token) in enumerate(sorted(zip(positions, dropped, strict=True), key=lambda pair: pair[0])):
        if position > alignment.num_chunks:
            raise ValueError(f"a dropped token is placed before token {token.before}, which does not exist")
        byte = int(alignment.byte_splits[position])
        text = display(token.text.encode("utf-8", "surrogatepass"))
        view = ChunkView((TokenView(text),), (), "dropped", text, (byte, byte), token.reason.value)
        merged.insert(position + offset, view)
    return merged


def _sum_logprobs(tokens: tuple[TokenView, ...]) -> float | None:
    values = [token.logprob for token in tokens]
    return None if None in values or not values else math.fsum(value for value in values if value is not None)


@cache
def _views() -> TypeAdapter[SampleView]:
    """Validates plain data as a view; built on first use."""
    return TypeAdapter(SampleView)
