"""From sampled responses to one advantage a student token, with every token accounted for."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crossdistill.align import Alignment, Coverage, DropReason, align
from crossdistill.chat import Response, render_prompt, split_response
from crossdistill.chat.template import Prompt
from crossdistill.objectives import Objective
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.tokens import ByteVocab, Encoding

_ONE = np.array([0, 1])
STOP_UNIT = Alignment(_ONE, _ONE, _ONE)
"""The student's stop token against the teacher's, as one 1:1 chunk (its byte is a place-holder)."""


@dataclass(frozen=True)
class ScoredResponse:
    """One response with its teacher signal.

    student_logprobs: nats, float32 [sampled tokens], of the policy that sampled. teacher: None where it was dropped,
    for the reason `dropped`. advantages: float32 [sampled tokens], 0 where `mask` (bool, supervised) is False.
    num_teacher_tokens: prompt and response in the teacher's tokens.
    """

    response: Response
    encoding: Encoding
    alignment: Alignment
    student_logprobs: np.ndarray
    teacher: TeacherScore | None
    dropped: DropReason | None
    advantages: np.ndarray
    mask: np.ndarray
    num_teacher_tokens: int

    @property
    def gap_nats(self) -> float:
        """log student - log teacher of the response's text, in nats; 0 where it has no teacher signal."""
        if self.teacher is None:
            return 0.0
        student = self.student_logprobs[self.response.text_positions].sum(dtype=np.float64)
        return float(student - self.teacher.logprobs.sum(dtype=np.float64))

    @property
    def gap_bytes(self) -> int:
        """The bytes that `gap_nats` is about."""
        return 0 if self.teacher is None else len(self.response.data)

    def coverage(self, stop_unit: bool) -> Coverage:
        """Every sampled token of this response: supervised, or dropped under a reason."""
        response, coverage = self.response, Coverage()
        coverage.drop(DropReason.SPECIAL_TOKEN, response.num_special, 0)
        has_stop = response.stop_position is not None
        if has_stop and not stop_unit:
            coverage.drop(DropReason.STOP_TOKEN, 1, 0)
        tokens = len(response.text_positions) + (has_stop and stop_unit)
        if self.dropped is None:
            coverage.supervise(tokens, len(response.data))
        else:
            coverage.drop(self.dropped, tokens, len(response.data))
        return coverage


class RolloutScorer:
    """Aligns sampled responses with the teacher's tokens, has them scored, and assigns credit.

    Attributes:
        seconds: time spent in each part (render, align, teacher, credit) since it was last cleared.
    """

    def __init__(
        self,
        objective: Objective,
        student_vocab: ByteVocab,
        student_stop_ids: Sequence[int],
        teacher: Teacher,
        teacher_template_kwargs: dict[str, Any] | None = None,
        stop_unit: bool = True,
    ):
        self.objective = objective
        self.student_vocab = student_vocab
        self.student_stop_ids = frozenset(student_stop_ids)
        self.teacher = teacher
        self.stop_unit = stop_unit
        self.seconds: dict[str, float] = defaultdict(float)
        self._teacher_template_kwargs = teacher_template_kwargs

    def split(self, completion_ids: Sequence[Sequence[int]]) -> list[Response]:
        """The sampled token ids as responses."""
        return [split_response(ids, self.student_vocab, self.student_stop_ids) for ids in completion_ids]

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Response],
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
    ) -> list[ScoredResponse]:
        """One result a response, in order.

        Args:
            student_logprobs: nats, [sampled tokens] of each response.
            student_stop_logprobs: log of the student's stop mass where each response stopped, else None.
        """
        with self._timed("align"):
            encodings = [self.teacher.vocab.encode(response.data) for response in responses]
            alignments = [
                align(self.student_vocab.ends(response.text_ids), encoding.ends)
                for response, encoding in zip(responses, encodings, strict=True)
            ]
        with self._timed("render"):
            requests = [
                TeacherRequest(
                    render_prompt(self.teacher.tokenizer, prompt, self._teacher_template_kwargs),
                    encoding.ids.tolist(),
                    response.stop_position is not None and self.stop_unit,
                )
                for prompt, response, encoding in zip(prompts, responses, encodings, strict=True)
            ]
        with self._timed("teacher"):
            answers = [_finite(answer) for answer in self.teacher.score(requests)]
        with self._timed("credit"):
            advantages = self._advantages(responses, alignments, student_logprobs, student_stop_logprobs, answers)
        return [
            _scored(*row)
            for row in zip(
                responses, encodings, alignments, student_logprobs, answers, advantages, requests, strict=True
            )
        ]

    def _advantages(
        self,
        responses: Sequence[Response],
        alignments: Sequence[Alignment],
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
        answers: Sequence[TeacherScore | DropReason],
    ) -> list[np.ndarray]:
        """Of the supervised tokens of each response (see `_supervised_positions`), computed on the whole batch at once."""
        student, teacher, chunks, sizes = [], [], [], []
        rows = zip(responses, alignments, student_logprobs, student_stop_logprobs, answers, strict=True)
        for response, alignment, logprobs, stop_logprob, answer in rows:
            sizes.append(len(_supervised_positions(response, answer)))
            if isinstance(answer, DropReason):
                continue
            student.append(logprobs[response.text_positions])
            teacher.append(answer.logprobs)
            chunks.append(alignment)
            if answer.stop_logprob is not None:
                student.append(np.array([stop_logprob], dtype=np.float32))
                teacher.append(np.array([answer.stop_logprob], dtype=np.float32))
                chunks.append(STOP_UNIT)
        flat = self.objective.advantages(_tensor(student), _tensor(teacher), Alignment.concatenate(chunks)).numpy()
        return np.split(flat, np.cumsum(sizes)[:-1])

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


def _finite(answer: TeacherScore | DropReason) -> TeacherScore | DropReason:
    """A score with a NaN or an infinity teaches nothing and would poison the whole step: the sample is dropped."""
    if isinstance(answer, DropReason):
        return answer
    stop = 0.0 if answer.stop_logprob is None else answer.stop_logprob
    return answer if np.isfinite(answer.logprobs).all() and np.isfinite(stop) else DropReason.NON_FINITE


def _supervised_positions(response: Response, answer: TeacherScore | DropReason) -> np.ndarray:
    if isinstance(answer, DropReason):
        return np.zeros(0, dtype=np.int64)
    if answer.stop_logprob is None:
        return response.text_positions
    return np.append(response.text_positions, response.stop_position)


def _tensor(parts: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.float32), *parts]))


def _scored(
    response: Response,
    encoding: Encoding,
    alignment: Alignment,
    student_logprobs: np.ndarray,
    answer: TeacherScore | DropReason,
    values: np.ndarray,
    request: TeacherRequest,
) -> ScoredResponse:
    positions = _supervised_positions(response, answer)
    advantages = np.zeros(len(response.ids), dtype=np.float32)
    advantages[positions] = values
    mask = np.zeros(len(response.ids), dtype=bool)
    mask[positions] = True
    return ScoredResponse(
        response,
        encoding,
        alignment,
        student_logprobs,
        teacher=None if isinstance(answer, DropReason) else answer,
        dropped=answer if isinstance(answer, DropReason) else None,
        advantages=advantages,
        mask=mask,
        num_teacher_tokens=len(request.prompt_ids) + len(request.response_ids),
    )
