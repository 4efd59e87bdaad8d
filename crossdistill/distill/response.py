"""A sampled response: in both models' tokens, with its teacher's signal, and in a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from crossdistill.align import Alignment, Coverage, DropReason
from crossdistill.align.coverage import Count
from crossdistill.chat import Response
from crossdistill.chat.messages import Prompt
from crossdistill.distill.names import ONE_TEACHER
from crossdistill.distill.rollout import Rollout
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.paired import PairedTokenization
from crossdistill.teachers.base import TeacherScore
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class AlignedResponse:
    """A response in both models' tokens.

    Attributes:
        response: what was sampled.
        paired: its text in both models' tokens.
        student_ends: int64, where each of the alignment's student tokens ends in the bytes of the text.
    """

    response: Response
    paired: PairedTokenization
    student_ends: np.ndarray

    @classmethod
    def of_batch(cls, responses: Sequence[Response], student: ByteVocab, teacher: ByteVocab) -> list["AlignedResponse"]:
        """Encode the bytes of each response for the teacher, and align."""
        paired = PairedTokenization.of_batch(student, [response.text_ids for response in responses], teacher)
        return [
            cls(response, one, student.ends(response.text_ids)[one.student_positions])
            for response, one in zip(responses, paired, strict=True)
        ]

    @property
    def encoding(self) -> Encoding:
        """The text in the teacher's tokens."""
        return self.paired.encoding

    @property
    def alignment(self) -> Alignment:
        """The chunks that both models can encode."""
        return self.paired.alignment

    @property
    def student_positions(self) -> np.ndarray:
        """Positions of the alignment's student tokens in ``response.ids``, int64."""
        return self.response.text_positions[self.paired.student_positions]

    @property
    def teacher_positions(self) -> np.ndarray:
        """Positions of its teacher tokens in ``encoding.ids``, int64."""
        return self.paired.teacher_positions


@dataclass(frozen=True)
class ScoredResponse:
    """One response, or one turn of a conversation with tools, with its teacher's signal.

    Attributes:
        prompt: what it answers.
        aligned: its tokens and the teacher's.
        student_logprobs: nats, float32 [sampled tokens], under the policy that sampled.
        teacher: the teacher's log-probabilities; None if the response was dropped.
        dropped: the reason why it was; None if it was not.
        advantages: nats, float32 [sampled tokens], 0 where `mask` is False.
        mask: bool [sampled tokens], the supervised ones.
        weight: its number of terms in the loss.
        num_teacher_tokens: prompt and response in the teacher's tokens; 0 if the teacher was not asked.
        batch: the aligned batch of this response alone; None if it was dropped.
        group: the batch of all responses that were credited together; None if it was dropped.
        index: number of this response in `group`.
        teacher_name: whose signal it is.
        others: the same response as further teachers score it, if several do (module `multi_teacher`).
        without_reference: what the teacher supervises and `mask` leaves out, because the reference does not.
    """

    prompt: Prompt
    aligned: AlignedResponse
    student_logprobs: np.ndarray
    teacher: TeacherScore | None
    dropped: DropReason | None
    advantages: np.ndarray
    mask: np.ndarray
    weight: float
    num_teacher_tokens: int
    batch: AlignedBatch | None = None
    group: AlignedBatch | None = None
    index: int = 0
    teacher_name: str = ONE_TEACHER
    others: tuple["ScoredResponse", ...] = ()
    without_reference: Count = field(default_factory=Count)

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
        """log student - log teacher of the aligned text, in nats; 0 without a teacher's signal."""
        if self.teacher is None:
            return 0.0
        student = self.student_logprobs[self.aligned.student_positions].sum(dtype=np.float64)
        return float(student - self.teacher.logprobs[self.aligned.teacher_positions].sum(dtype=np.float64))

    @property
    def gap_bytes(self) -> int:
        """Bytes of the text that `gap_nats` compares."""
        return 0 if self.teacher is None else int(self.alignment.byte_splits[-1])

    @property
    def num_partly_scored(self) -> int:
        """Supervised tokens that at least one of the `others` does not score."""
        scored_by_all = np.logical_and.reduce([self.mask, *(other.mask for other in self.others)])
        return int((self.mask & ~scored_by_all).sum())

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
        num_supervised, left_out = int(self.mask.sum()), self.without_reference
        coverage.supervise(num_supervised, num_bytes - left_out.bytes)
        coverage.drop(DropReason.NO_REFERENCE, left_out.tokens, left_out.bytes)
        coverage.drop(DropReason.STOP_TOKEN, has_stop - (num_supervised + left_out.tokens - text_tokens), 0)
        lost_bytes = len(response.data) - num_bytes
        coverage.drop(DropReason.UNENCODABLE, len(response.text_positions) - text_tokens, lost_bytes)
        return coverage


@dataclass(frozen=True)
class ScoredBatch:
    """A rollout with its teacher's signal.

    Attributes:
        advantages: nats, float32 [B, C], constant; 0 where `loss_mask` is False.
        loss_mask: bool [B, C], the supervised tokens.
        old_logprobs: nats, float32 [B, C], of the sampled tokens under the policy that sampled; 0 elsewhere.
        num_items: by which the loss of this batch is divided: the number of its terms, at least 1. With several
            processes or accumulated gradients, divide by the sum of :attr:`weight` over all of them instead.
        weight: the number of terms of the loss; 0 if nothing is supervised.
        coverage: what became of every sampled token.
        responses: one for each turn, in order, with alignments and scores, for reports.
        rollout: the completions and their turns.
    """

    advantages: Tensor
    loss_mask: Tensor
    old_logprobs: Tensor
    responses: list[ScoredResponse]
    rollout: Rollout

    @property
    def weight(self) -> float:
        return sum(item.weight for item in self.responses)

    @property
    def num_items(self) -> float:
        return max(1.0, self.weight)

    @cached_property
    def coverage(self) -> Coverage:
        total = Coverage()
        for response in self.responses:
            total.add(response.coverage)
        return total

    def rows(self, rows: Sequence[int]) -> list[ScoredResponse]:
        """The responses of some rows, in that order."""
        by_row = self.rollout.by_row(self.responses)
        return [item for row in rows for item in by_row[row]]

    def row(self, row: int) -> "ScoredBatch":
        """One row as a batch, for whoever hands rows on one by one."""
        own = slice(row, row + 1)
        tensors = self.advantages[own], self.loss_mask[own], self.old_logprobs[own]
        return ScoredBatch(*tensors, self.rows([row]), self.rollout.row(row))

    def first(self, num_rows: int) -> "ScoredBatch":
        """The first rows; those after them are padding."""
        own = slice(num_rows)
        tensors = self.advantages[own], self.loss_mask[own], self.old_logprobs[own]
        return ScoredBatch(*tensors, self.rows(range(num_rows)), self.rollout.first(num_rows))

    def to(self, device: torch.device | str) -> "ScoredBatch":
        """The same with its tensors on a device."""
        return replace(
            self,
            advantages=self.advantages.to(device),
            loss_mask=self.loss_mask.to(device),
            old_logprobs=self.old_logprobs.to(device),
        )
