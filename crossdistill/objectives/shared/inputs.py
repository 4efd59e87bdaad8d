"""The inputs of an objective: aligned responses, the teacher's signal, and the student's hidden states.

Shapes: C chunks, N_S student tokens, N_T teacher tokens, of one response or of several put one after the other; H
hidden size. Shift: a state is in the row of the token that it predicts, not of the token that was read last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from crossdistill.align import Alignment
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, TopLogprobs, token_logprobs


@dataclass(frozen=True)
class StudentTokens:
    """The sampled tokens.

    Attributes:
        ids: int64 [N_S]; at a stop unit the stop token that was sampled.
        ends: int64 [N_S], the byte end of each token, counted as in ``Alignment.byte_splits``.
        old_logprobs: nats, float32 [N_S], of these ids under the policy that sampled.
        logprobs: the same, but at a stop unit that of all stop tokens together.
        positions: int64 [N_S], of each token among all that were sampled for its response: those that are not here, as
            the teacher cannot spell them or they carry no bytes, leave gaps. None if there are none.
    """

    ids: Tensor
    ends: Tensor
    old_logprobs: Tensor
    logprobs: Tensor
    positions: Tensor | None = None

    @property
    def all_positions(self) -> Tensor:
        """The positions, counted through if there are no gaps."""
        return torch.arange(len(self.ids), device=self.ids.device) if self.positions is None else self.positions

    def to(self, device: torch.device) -> "StudentTokens":
        """A copy on a device."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if value is not None})

    @classmethod
    def concatenate(cls, parts: Sequence["StudentTokens"], first_bytes: Sequence[int]) -> "StudentTokens":
        """The tokens of several parts, whose bytes begin at `first_bytes`."""
        has_gaps = any(part.positions is not None for part in parts)
        return cls(
            torch.cat([part.ids for part in parts]),
            _concatenate_ends(parts, first_bytes),
            torch.cat([part.old_logprobs for part in parts]),
            torch.cat([part.logprobs for part in parts]),
            torch.cat([part.all_positions for part in parts]) if has_gaps else None,
        )


@dataclass(frozen=True)
class TeacherTokens:
    """The same text in the teacher's tokens.

    Attributes:
        ids: int64 [N_T]; at a stop unit one of the stop tokens.
        ends: int64 [N_T], the byte end of each token, counted as in ``Alignment.byte_splits``.
        logprobs: nats, float32 [N_T]; at a stop unit that of all stop tokens together.
        states: the hidden states, if the objective's signal is DENSE.
        topk: the most probable tokens, if it is TOPK.
    """

    ids: Tensor
    ends: Tensor
    logprobs: Tensor
    states: HiddenStates | None = None
    topk: TopLogprobs | None = None

    @property
    def dense(self) -> HiddenStates:
        """The hidden states; every objective that asks for DENSE gets them."""
        assert self.states is not None
        return self.states

    @property
    def most_probable(self) -> TopLogprobs:
        """The top k; every objective that asks for TOPK gets them."""
        assert self.topk is not None
        return self.topk

    def to(self, device: torch.device) -> "TeacherTokens":
        """A copy on a device; the head stays where it is."""
        return TeacherTokens(
            self.ids.to(device),
            self.ends.to(device),
            self.logprobs.to(device),
            None if self.states is None else self.states._replace(hidden=self.states.hidden.to(device)),
            None if self.topk is None else TopLogprobs(*(value.to(device) for value in self.topk)),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["TeacherTokens"], first_bytes: Sequence[int]) -> "TeacherTokens":
        """The tokens of several parts with the same signal, whose bytes begin at `first_bytes`."""
        states, topk = parts[0].states, parts[0].topk
        if states is not None:
            states = states._replace(hidden=torch.cat([part.dense.hidden for part in parts]))
        if topk is not None:
            columns = zip(*(part.most_probable for part in parts), strict=True)
            topk = TopLogprobs(*(torch.cat(column) for column in columns))
        return cls(
            torch.cat([part.ids for part in parts]),
            _concatenate_ends(parts, first_bytes),
            torch.cat([part.logprobs for part in parts]),
            states,
            topk,
        )


def _concatenate_ends(parts: Sequence[StudentTokens | TeacherTokens], first_bytes: Sequence[int]) -> Tensor:
    return torch.cat([part.ends + first for part, first in zip(parts, first_bytes, strict=True)])


@dataclass(frozen=True)
class AlignedBatch:
    """Responses in both models' tokens, with the teacher's signal.

    Attributes:
        alignment: the chunks of all responses.
        is_stop: bool [C], whether a chunk is a stop unit: the last of its response, if there is one. It is one student
            token, the stop that was sampled, against all stop tokens of the teacher; its one byte is a place-holder.
        response_splits: int64 [B + 1], the chunks of each response.
        pair: both vocabularies.
        student: the responses in the student's tokens.
        teacher: the responses in the teacher's tokens.
        groups: which responses answer one prompt; None if that is not known.

    Example:
        The student wrote ``"hi"`` in two tokens, and the teacher reads the same two:

        >>> import numpy as np, torch
        >>> from transformers import ByT5Tokenizer
        >>> from crossdistill import Alignment, ByteVocab
        >>> from crossdistill.objectives import AlignedBatch, StudentTokens, TeacherTokens, VocabPair, get
        >>> vocab = ByteVocab.from_tokenizer(ByT5Tokenizer())
        >>> ids, ends, old = torch.tensor([107, 108]), torch.tensor([1, 2]), torch.tensor([-2.0, -0.5])
        >>> batch = AlignedBatch(
        ...     alignment=Alignment([0, 1, 2], [0, 1, 2], [0, 1, 2]),
        ...     is_stop=np.array([False, False]),
        ...     response_splits=np.array([0, 2]),
        ...     pair=VocabPair(vocab, vocab),
        ...     student=StudentTokens(ids, ends, old, old),
        ...     teacher=TeacherTokens(ids, ends, torch.tensor([-1.0, -1.0])),
        ... )
        >>> get("dpca").advantages(batch).tolist()
        [1.0, -0.5]
    """

    alignment: Alignment
    is_stop: np.ndarray
    response_splits: np.ndarray
    pair: VocabPair
    student: StudentTokens
    teacher: TeacherTokens
    groups: ResponseGroups | None = None

    @cached_property
    def student_splits(self) -> Tensor:
        """int64 [C + 1], the student's tokens of each chunk, on the device of these tokens."""
        return torch.as_tensor(self.alignment.student_splits.copy(), device=self.device)

    @cached_property
    def teacher_splits(self) -> Tensor:
        """int64 [C + 1], the teacher's tokens of each chunk, on the same device."""
        return torch.as_tensor(self.alignment.teacher_splits.copy(), device=self.device)

    @property
    def device(self) -> torch.device:
        """The device of the tokens."""
        return self.student.ids.device

    def to(self, device: torch.device) -> "AlignedBatch":
        """A copy on a device, with the teacher's states and without its head."""
        return replace(self, student=self.student.to(device), teacher=self.teacher.to(device))

    def with_teacher(self, states: HiddenStates | None = None, topk: TopLogprobs | None = None) -> "AlignedBatch":
        """The same with another signal of the teacher."""
        if states is self.teacher.states and topk is self.teacher.topk:
            return self
        return replace(self, teacher=replace(self.teacher, states=states, topk=topk))

    @classmethod
    def concatenate(cls, parts: Sequence["AlignedBatch"]) -> "AlignedBatch":
        """One batch of several, at least one, of the same pair and rollout and with the same signal; one is itself."""
        if len(parts) == 1:
            return parts[0]
        num_bytes = [int(part.alignment.byte_splits[-1]) for part in parts]
        first_bytes = [0, *np.cumsum(num_bytes)[:-1].tolist()]
        num_chunks = np.concatenate([np.diff(part.response_splits) for part in parts])
        groups = [part.groups for part in parts if part.groups is not None]
        return cls(
            Alignment.concatenate([part.alignment for part in parts]),
            np.concatenate([part.is_stop for part in parts]),
            np.concatenate([[0], np.cumsum(num_chunks)]),
            parts[0].pair,
            StudentTokens.concatenate([part.student for part in parts], first_bytes),
            TeacherTokens.concatenate([part.teacher for part in parts], first_bytes),
            ResponseGroups.concatenate(groups) if len(groups) == len(parts) else None,
        )


@dataclass(frozen=True)
class LossInputs:
    """The inputs of a loss.

    Attributes:
        batch: aligned responses.
        advantages: nats, [N_S], constant: the result of ``Objective.advantages`` when the tokens were sampled.
        student: the states of the policy that is trained, [N_S, H], differentiable.
        temperature: of the sampling; it divides the student's logits if the policy that sampled is meant.

    Example:
        A loss of the batch that :class:`AlignedBatch` shows, for a student that finds all tokens equally likely:

        >>> import numpy as np, torch
        >>> from transformers import ByT5Tokenizer
        >>> from crossdistill import Alignment, ByteVocab
        >>> from crossdistill.objectives import AlignedBatch, LossInputs, StudentTokens, TeacherTokens, VocabPair, get
        >>> from crossdistill.ops import HiddenStates, LMHead
        >>> vocab = ByteVocab.from_tokenizer(ByT5Tokenizer())
        >>> ids, ends, old = torch.tensor([107, 108]), torch.tensor([1, 2]), torch.tensor([-2.0, -0.5])
        >>> student, teacher = StudentTokens(ids, ends, old, old), TeacherTokens(ids, ends, torch.tensor([-1.0, -1.0]))
        >>> alignment, is_stop = Alignment([0, 1, 2], [0, 1, 2], [0, 1, 2]), np.array([False, False])
        >>> batch = AlignedBatch(alignment, is_stop, np.array([0, 2]), VocabPair(vocab, vocab), student, teacher)
        >>> hidden, head = torch.zeros(2, 8, requires_grad=True), LMHead(torch.ones(len(vocab), 8))
        >>> objective = get("alm", debias=False, tau=1.0)
        >>> inputs = LossInputs(batch, objective.advantages(batch), HiddenStates(hidden, head))
        >>> loss = objective.loss(inputs).total / objective.weight(batch)
        >>> loss.backward()
        >>> round(loss.item(), 2)
        1.53
    """

    batch: AlignedBatch
    advantages: Tensor
    student: HiddenStates
    temperature: float = 1.0

    def at_chunk_starts(self) -> tuple[HiddenStates, HiddenStates]:
        """The states that predict the first token of each chunk, [C, H]: the student's and the teacher's.

        The objective's signal must be DENSE.
        """
        batch = self.batch
        return self.student.at(batch.student_splits[:-1]), batch.teacher.dense.at(batch.teacher_splits[:-1])

    def student_logprobs(self, temperature: float = 1.0) -> Tensor:
        """Log-probabilities of the realised tokens, and of all stop tokens together at stop units.

        Returns:
            Nats, [N_S], differentiable.
        """
        batch, (hidden, head) = self.batch, self.student
        logprobs = token_logprobs(hidden, head, batch.student.ids, temperature).logprobs
        stops = batch.student_splits[:-1][torch.as_tensor(batch.is_stop, device=batch.device)]
        if not len(stops):
            return logprobs
        stop_logprobs = [
            token_logprobs(hidden[stops], head, torch.full_like(stops, stop), temperature).logprobs
            for stop in batch.pair.student_stops
        ]
        return logprobs.index_copy(0, stops, torch.stack(stop_logprobs).logsumexp(0))
