"""A sampled response with its teacher's signal, and what became of each of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.align import Alignment, Coverage, DropReason
from crossdistill.chat import Response
from crossdistill.chat.messages import Prompt
from crossdistill.distill.routing import ONE
from crossdistill.objectives import AlignedBatch
from crossdistill.paired import PairedTokenization
from crossdistill.teachers import TeacherScore
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class AlignedResponse:
    """A response in both models' tokens.

    reading: of its text. student_ends: int64, of the alignment's student tokens in the bytes of the text.
    """

    response: Response
    reading: PairedTokenization
    student_ends: np.ndarray

    @classmethod
    def of_batch(cls, responses: Sequence[Response], student: ByteVocab, teacher: ByteVocab) -> list["AlignedResponse"]:
        """Encode the bytes of each response for the teacher and align."""
        readings = PairedTokenization.of_batch(student, [response.text_ids for response in responses], teacher)
        return [
            cls(response, reading, student.ends(response.text_ids)[reading.student_positions])
            for response, reading in zip(responses, readings, strict=True)
        ]

    @property
    def encoding(self) -> Encoding:
        return self.reading.encoding

    @property
    def alignment(self) -> Alignment:
        return self.reading.alignment

    @property
    def student_positions(self) -> np.ndarray:
        """Where the alignment's student tokens stand in ``response.ids``, int64."""
        return self.response.text_positions[self.reading.student_positions]

    @property
    def teacher_positions(self) -> np.ndarray:
        """Where its teacher tokens stand in ``encoding.ids``, int64."""
        return self.reading.teacher_positions


@dataclass(frozen=True)
class ScoredResponse:
    """One response, or one turn of a conversation with tools, with its teacher signal.

    prompt: what it answers. student_logprobs: nats, float32 [sampled tokens], of the policy that sampled. teacher,
    batch: None where it was dropped, for the reason `dropped`. advantages: float32 [sampled tokens], 0 where `mask`
    (bool, supervised) is False. weight: by how much it counts in the loss. num_teacher_tokens: prompt and response in
    the teacher's tokens; 0 where it was shown none. teacher_name: whose signal it is. others: what further teachers say
    of the same response, where several judge it (:mod:`crossdistill.distill.multi_teacher`).
    """

    prompt: Prompt
    aligned: AlignedResponse
    student_logprobs: np.ndarray
    teacher: TeacherScore | None
    dropped: DropReason | None
    batch: AlignedBatch | None
    advantages: np.ndarray
    mask: np.ndarray
    weight: float
    num_teacher_tokens: int
    teacher_name: str = ONE
    others: tuple["ScoredResponse", ...] = ()

    @property
    def response(self) -> Response:
        return self.aligned.response

    @property
    def encoding(self) -> Encoding:
        return self.aligned.encoding

    @property
    def alignment(self) -> Alignment:
        return self.aligned.alignment

    @property
    def gap_nats(self) -> float:
        """log student - log teacher of the aligned text, in nats; 0 where it has no teacher signal."""
        if self.teacher is None:
            return 0.0
        student = self.student_logprobs[self.aligned.student_positions].sum(dtype=np.float64)
        return float(student - self.teacher.logprobs[self.aligned.teacher_positions].sum(dtype=np.float64))

    @property
    def gap_bytes(self) -> int:
        """The bytes that `gap_nats` is about."""
        return 0 if self.teacher is None else int(self.alignment.byte_splits[-1])

    @property
    def num_partly_judged(self) -> int:
        """Supervised tokens of which one of the `others` says nothing."""
        judged = np.logical_and.reduce([self.mask, *(other.mask for other in self.others)])
        return int((self.mask & ~judged).sum())

    @property
    def coverage(self) -> Coverage:
        """Every sampled token of this response: supervised, or dropped under a reason."""
        response, coverage = self.response, Coverage()
        coverage.drop(DropReason.SPECIAL_TOKEN, response.num_special, 0)
        has_stop = response.stop_position is not None
        if self.dropped is not None:
            coverage.drop(self.dropped, len(response.text_positions) + has_stop, len(response.data))
            return coverage
        text_tokens, num_bytes = len(self.aligned.student_positions), int(self.alignment.byte_splits[-1])
        num_supervised = int(self.mask.sum())
        coverage.supervise(num_supervised, num_bytes)
        coverage.drop(DropReason.STOP_TOKEN, has_stop - (num_supervised - text_tokens), 0)
        lost_bytes = len(response.data) - num_bytes
        coverage.drop(DropReason.UNENCODABLE, len(response.text_positions) - text_tokens, lost_bytes)
        return coverage
