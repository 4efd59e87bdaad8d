"""Sums over rollouts, from which the logged metrics are made: added up over processes and batches, divided once."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from crossdistill.align import Coverage
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Rollout
from crossdistill.train.monitor.byte_classes import ByteClass, ClassSums
from crossdistill.train.monitor.histories import HistoryCounts


@dataclass
class RolloutSums:
    """Sums over the responses of one or more batches, in the units of their names.

    A response with tools has several turns; its gap is that of its turns together.

    Attributes:
        sampled_nats: -log p of the sampled tokens.
        digit_bytes, white_space_bytes: sampled bytes of digits and white space.
        digit_gap_nats, ...: the gap on chunks of that class (module `byte_classes`); what is neither is the rest.
        scored_ends, end_probability: turns that the student ended and whose end the teacher scores, and the sum of the
            probabilities that it gives them.
        partly_scored_tokens: supervised tokens that one of several teachers does not score.
        gap_nats_squared, ...: second moments over responses, for the standard error of the gap.
    """

    responses: float = 0
    turns: float = 0
    stopped: float = 0
    sampled_tokens: float = 0
    sampled_nats: float = 0
    supervised_tokens: float = 0
    partly_scored_tokens: float = 0
    sampled_bytes: float = 0
    supervised_bytes: float = 0
    gap_responses: float = 0
    gap_nats: float = 0
    gap_bytes: float = 0
    gap_nats_squared: float = 0
    gap_nats_times_bytes: float = 0
    gap_bytes_squared: float = 0
    digit_bytes: float = 0
    white_space_bytes: float = 0
    digit_gap_nats: float = 0
    digit_gap_bytes: float = 0
    white_space_gap_nats: float = 0
    white_space_gap_bytes: float = 0
    tool_tokens: float = 0
    student_histories: float = 0
    teacher_histories: float = 0
    student_histories_changed: float = 0
    teacher_histories_changed: float = 0
    scored_ends: float = 0
    end_probability: float = 0

    @classmethod
    def of(
        cls, rollout: Rollout, scored: Sequence[ScoredResponse], coverage: Coverage, histories: HistoryCounts
    ) -> "RolloutSums":
        """The sums of a rollout whose turns are `scored`, with their common coverage."""
        rows = rollout.by_row(scored)
        gaps = [(sum(item.gap_nats for item in row), sum(item.gap_bytes for item in row)) for row in rows]
        classes = ClassSums.of(scored)
        teachers = [item.teacher for item in scored if item.teacher is not None]
        ends = [one.stop_logprob for one in teachers if one.stop_logprob is not None]
        return cls(
            responses=len(rows),
            turns=len(scored),
            stopped=sum(
                rollout.is_at_end(turn) and item.response.stop_position is not None
                for turn, item in zip(rollout.turns, scored, strict=True)
            ),
            sampled_tokens=coverage.sampled.tokens,
            sampled_nats=-sum(float(item.student_logprobs.sum(dtype=np.float64)) for item in scored),
            supervised_tokens=coverage.supervised.tokens,
            partly_scored_tokens=sum(item.num_partly_scored for item in scored),
            sampled_bytes=coverage.sampled.bytes,
            supervised_bytes=coverage.supervised.bytes,
            gap_responses=sum(size > 0 for _, size in gaps),
            gap_nats=sum(nats for nats, _ in gaps),
            gap_bytes=sum(size for _, size in gaps),
            gap_nats_squared=sum(nats * nats for nats, _ in gaps),
            gap_nats_times_bytes=sum(nats * size for nats, size in gaps),
            gap_bytes_squared=sum(size * size for _, size in gaps),
            digit_bytes=float(classes.sampled_bytes[ByteClass.DIGITS]),
            white_space_bytes=float(classes.sampled_bytes[ByteClass.WHITE_SPACE]),
            digit_gap_nats=float(classes.gap_nats[ByteClass.DIGITS]),
            digit_gap_bytes=float(classes.gap_bytes[ByteClass.DIGITS]),
            white_space_gap_nats=float(classes.gap_nats[ByteClass.WHITE_SPACE]),
            white_space_gap_bytes=float(classes.gap_bytes[ByteClass.WHITE_SPACE]),
            tool_tokens=rollout.num_tool_tokens,
            student_histories=histories.student,
            teacher_histories=histories.teacher,
            student_histories_changed=histories.student_changed,
            teacher_histories_changed=histories.teacher_changed,
            scored_ends=len(ends),
            end_probability=float(np.exp(ends).sum()),
        )

    def add(self, other: Sequence[float]) -> None:
        """Add another batch's sums, given in the order of the fields."""
        for field, value in zip(fields(self), other, strict=True):
            setattr(self, field.name, getattr(self, field.name) + value)

    def values(self) -> tuple[float, ...]:
        return astuple(self)

    def metrics(self) -> dict[str, float]:
        """The logged figures; empty if there is no response.

        * teacher_gap: log student - log teacher, nats per byte, over the responses' text: an estimate of the sequence
          reverse KL per byte. teacher_gap_se: its standard error over responses (ratio estimator), from two on.
          teacher_gap/*: on chunks with digits, of white space alone, and on the rest, if there are any.
        * share/*: of the sampled bytes, those of digits and white space.
        * sampled_entropy: mean -log p of the sampled tokens, nats; its expectation is the student's entropy, except
          that top_k, top_p and min_p make it too low.
        * coverage, token_coverage: share of the sampled bytes and tokens that is supervised.
        * partly_judged: share of the supervised tokens that one of several teachers does not score, if there are any.
        * stopped: share of the responses that end with a stop token.
        * turns, tool_tokens: of a response, if tools were called.
        * history_changed/*: share of the conversations with earlier answers of the assistant that a side's template
          does not show as they were.
        """
        if not self.responses:
            return {}
        metrics = {
            "stopped": self.stopped / self.responses,
            "response_tokens": self.sampled_tokens / self.responses,
            "coverage": self.supervised_bytes / self.sampled_bytes if self.sampled_bytes else 1.0,
            "token_coverage": self.supervised_tokens / self.sampled_tokens if self.sampled_tokens else 1.0,
        }
        if self.sampled_tokens:
            metrics["sampled_entropy"] = self.sampled_nats / self.sampled_tokens
        if self.sampled_bytes:
            metrics["share/digits"] = self.digit_bytes / self.sampled_bytes
            metrics["share/white_space"] = self.white_space_bytes / self.sampled_bytes
        if self.partly_scored_tokens:
            metrics["partly_judged"] = self.partly_scored_tokens / self.supervised_tokens
        if self.tool_tokens:
            metrics["turns"] = self.turns / self.responses
            metrics["tool_tokens"] = self.tool_tokens / self.responses
        if self.student_histories:
            metrics["history_changed/student"] = self.student_histories_changed / self.student_histories
        if self.teacher_histories:
            metrics["history_changed/teacher"] = self.teacher_histories_changed / self.teacher_histories
        return metrics | self._gaps()

    def _gaps(self) -> dict[str, float]:
        """The metrics of the gap, if there are bytes."""
        gap = self.gap_nats / self.gap_bytes if self.gap_bytes else 0.0
        metrics = {"teacher_gap": gap} if self.gap_bytes else {}
        for name, (nats, size) in self.gaps_by_class().items():
            if size:
                metrics[f"teacher_gap/{name}"] = nats / size
        if self.gap_responses > 1:
            residual = self.gap_nats_squared - 2 * gap * self.gap_nats_times_bytes + gap * gap * self.gap_bytes_squared
            variance = max(0.0, residual) * self.gap_responses / (self.gap_responses - 1)
            metrics["teacher_gap_se"] = math.sqrt(variance) / self.gap_bytes
        return metrics

    def gaps_by_class(self) -> dict[str, tuple[float, float]]:
        """Nats and bytes of the gap on digits, white space and the rest."""
        digits = self.digit_gap_nats, self.digit_gap_bytes
        spaces = self.white_space_gap_nats, self.white_space_gap_bytes
        rest = self.gap_nats - digits[0] - spaces[0], self.gap_bytes - digits[1] - spaces[1]
        return {"digits": digits, "white_space": spaces, "rest": rest}
