"""What an objective sees: aligned responses, what the teacher says of them, and the student's states.

Shapes: C chunks, N_S student tokens, N_T teacher tokens, of one response or of several put one after the other; H
hidden size. Shift: a state stands in the row of the token that it predicts, not of the token that it has read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from crossdistill.align import Alignment
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, TopLogprobs, token_logprobs


@dataclass(frozen=True)
class StudentTokens:
    """What was sampled.

    ids: int64 [N_S]; at a stop unit the stop token that was sampled. ends: int64 [N_S], bytes, as ``byte_splits``.
    old_logprobs: of these ids under the policy that sampled, nats, float32 [N_S]. logprobs: the same, but at a stop
    unit of all stop tokens together.
    """

    ids: Tensor
    ends: Tensor
    old_logprobs: Tensor
    logprobs: Tensor


@dataclass(frozen=True)
class TeacherTokens:
    """The same text in the teacher's tokens.

    ids: int64 [N_T]. ends: int64 [N_T], bytes, as ``byte_splits``. logprobs: nats, float32 [N_T]. At a stop unit the id
    is one of the stop tokens and the log-probability that of all together. states: where the objective's signal is
    DENSE. topk: where it is TOPK.
    """

    ids: Tensor
    ends: Tensor
    logprobs: Tensor
    states: HiddenStates | None = None
    topk: TopLogprobs | None = None

    @property
    def dense(self) -> HiddenStates:
        """Its states; the trainer gives them to every objective that asks for DENSE."""
        assert self.states is not None
        return self.states

    @property
    def most_probable(self) -> TopLogprobs:
        """Its top k; the trainer gives them to every objective that asks for TOPK."""
        assert self.topk is not None
        return self.topk


@dataclass(frozen=True)
class AlignedBatch:
    """Responses in both models' tokens, and what the teacher says of them.

    alignment: of all of them. is_stop: bool [C], whether a chunk is a stop unit (one student token, the stop that it
    sampled, against all stop tokens of the teacher; its one byte is a place-holder): the last of its response, if any.
    response_splits: int64 [B + 1], the chunks of each response.
    """

    alignment: Alignment
    is_stop: np.ndarray
    response_splits: np.ndarray
    pair: VocabPair
    student: StudentTokens
    teacher: TeacherTokens

    @cached_property
    def student_splits(self) -> Tensor:
        """int64 [C + 1], on the device of the student's tokens."""
        return torch.as_tensor(self.alignment.student_splits.copy(), device=self.device)

    @cached_property
    def teacher_splits(self) -> Tensor:
        """int64 [C + 1], on the same device."""
        return torch.as_tensor(self.alignment.teacher_splits.copy(), device=self.device)

    @property
    def device(self) -> torch.device:
        return self.student.ids.device

    def to(self, device: torch.device) -> "AlignedBatch":
        """The same on a device, the teacher's states too."""
        student = StudentTokens(*(value.to(device) for value in vars(self.student).values()))
        teacher = self.teacher
        moved = TeacherTokens(
            teacher.ids.to(device),
            teacher.ends.to(device),
            teacher.logprobs.to(device),
            None if teacher.states is None else teacher.states._replace(hidden=teacher.states.hidden.to(device)),
            None if teacher.topk is None else TopLogprobs(*(value.to(device) for value in teacher.topk)),
        )
        return replace(self, student=student, teacher=moved)

    def with_teacher(self, states: HiddenStates | None = None, topk: TopLogprobs | None = None) -> "AlignedBatch":
        """The same with another signal of the teacher."""
        return replace(self, teacher=replace(self.teacher, states=states, topk=topk))

    @classmethod
    def concatenate(cls, parts: Sequence["AlignedBatch"]) -> "AlignedBatch":
        """One of several, at least one, of the same pair and with the same signal."""
        bytes_before = np.cumsum([0, *(int(part.alignment.byte_splits[-1]) for part in parts)])[:-1].tolist()
        sizes = np.concatenate([np.diff(part.response_splits) for part in parts])

        def joined(of: Callable[[AlignedBatch], Tensor]) -> Tensor:
            return torch.cat([of(part) for part in parts])

        def shifted(of: Callable[[AlignedBatch], Tensor]) -> Tensor:
            return torch.cat([of(part) + before for part, before in zip(parts, bytes_before, strict=True)])

        first = parts[0].teacher
        states = first.states and HiddenStates(joined(lambda e: e.teacher.dense.hidden), first.states.head)
        topk = first.topk and TopLogprobs(
            joined(lambda e: e.teacher.most_probable.ids), joined(lambda e: e.teacher.most_probable.logprobs)
        )
        return cls(
            Alignment.concatenate([part.alignment for part in parts]),
            np.concatenate([part.is_stop for part in parts]),
            np.concatenate([[0], np.cumsum(sizes)]),
            parts[0].pair,
            StudentTokens(
                joined(lambda e: e.student.ids),
                shifted(lambda e: e.student.ends),
                joined(lambda e: e.student.old_logprobs),
                joined(lambda e: e.student.logprobs),
            ),
            TeacherTokens(
                joined(lambda e: e.teacher.ids),
                shifted(lambda e: e.teacher.ends),
                joined(lambda e: e.teacher.logprobs),
                states,
                topk,
            ),
        )


@dataclass(frozen=True)
class LossInputs:
    """What a loss is computed from.

    advantages: nats, [N_S], constant: what :meth:`Objective.advantages` gave for these tokens when they were sampled.
    student: the states of the policy that is trained, [N_S, H], differentiable. temperature: of the sampling; it
    divides the student's logits where the policy that sampled is meant.
    """

    batch: AlignedBatch
    advantages: Tensor
    student: HiddenStates
    temperature: float = 1.0

    def at_chunk_starts(self) -> tuple[HiddenStates, HiddenStates]:
        """The states that predict the first token of each chunk, [C, H]: the student's and the teacher's."""
        batch = self.batch
        return self.student.at(batch.student_splits[:-1]), batch.teacher.dense.at(batch.teacher_splits[:-1])

    def student_logprobs(self, temperature: float = 1.0) -> Tensor:
        """Of the realised tokens, and of all stop tokens together at stop units: nats, [N_S], differentiable."""
        batch, (hidden, head) = self.batch, self.student
        logprobs = token_logprobs(hidden, head, batch.student.ids, temperature).logprobs
        stops = batch.student_splits[:-1][torch.as_tensor(batch.is_stop, device=batch.device)]
        if not len(stops):
            return logprobs
        masses = [
            token_logprobs(hidden[stops], head, torch.full_like(stops, stop), temperature).logprobs
            for stop in batch.pair.student_stops
        ]
        return logprobs.index_copy(0, stops, torch.stack(masses).logsumexp(0))
