"""From sampled responses to one advantage a student token, with every token accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crossdistill.align import Alignment, Coverage, DropReason
from crossdistill.chat import Response, TemplateRefusalError, render_prompt, split_response
from crossdistill.chat.messages import Prompt
from crossdistill.objectives import Objective
from crossdistill.reading import Reading
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.tokens import ByteVocab, Encoding
from crossdistill.train.stopwatch import Stopwatch

_ONE = np.array([0, 1])
STOP_UNIT = Alignment(_ONE, _ONE, _ONE)
"""The student's stop token against the teacher's, as one 1:1 chunk (its byte is a place-holder)."""


@dataclass(frozen=True)
class AlignedResponse:
    """A response in both models' tokens.

    reading: of its text. student_positions: where the alignment's student tokens stand in ``response.ids``, int64.
    """

    response: Response
    reading: Reading

    @classmethod
    def of_batch(cls, responses: Sequence[Response], student: ByteVocab, teacher: ByteVocab) -> list["AlignedResponse"]:
        """Encode the bytes of each response for the teacher and align."""
        readings = Reading.of_batch(student, [response.text_ids for response in responses], teacher)
        return [cls(*pair) for pair in zip(responses, readings, strict=True)]

    @property
    def encoding(self) -> Encoding:
        return self.reading.encoding

    @property
    def alignment(self) -> Alignment:
        return self.reading.alignment

    @property
    def student_positions(self) -> np.ndarray:
        return self.response.text_positions[self.reading.student_positions]

    @property
    def teacher_positions(self) -> np.ndarray:
        return self.reading.teacher_positions


@dataclass(frozen=True)
class ScoredResponse:
    """One response, or one turn of a conversation with tools, with its teacher signal.

    prompt: what it answers. student_logprobs: nats, float32 [sampled tokens], of the policy that sampled. teacher:
    None where it was dropped, for the reason `dropped`. advantages: float32 [sampled tokens], 0 where `mask` (bool,
    supervised) is False. num_teacher_tokens: prompt and response in the teacher's tokens; 0 where it was shown none.
    """

    prompt: Prompt
    aligned: AlignedResponse
    student_logprobs: np.ndarray
    teacher: TeacherScore | None
    dropped: DropReason | None
    advantages: np.ndarray
    mask: np.ndarray
    num_teacher_tokens: int

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


class RolloutScorer:
    """Aligns sampled responses with the teacher's tokens, has them scored, and assigns credit.

    Attributes:
        stopwatch: of its parts: render, align, teacher, credit.
    """

    def __init__(
        self,
        objective: Objective,
        student_vocab: ByteVocab,
        student_stop_ids: Sequence[int],
        teacher: Teacher,
        teacher_template_kwargs: dict[str, Any] | None = None,
        stop_unit: bool = True,
        tools: Sequence[Any] | None = None,
    ):
        self.objective = objective
        self.student_vocab = student_vocab
        self.student_stop_ids = frozenset(student_stop_ids)
        self.teacher = teacher
        self.stop_unit = stop_unit
        self.stopwatch = Stopwatch()
        self._teacher_template_kwargs = teacher_template_kwargs
        self._tools = tools

    def split(self, completion_ids: Sequence[Sequence[int]]) -> list[Response]:
        """The sampled token ids as responses."""
        return [split_response(ids, self.student_vocab, self.student_stop_ids) for ids in completion_ids]

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Response],
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
        has_sampled_text: Sequence[bool] | None = None,
    ) -> list[ScoredResponse]:
        """One result a response, in order.

        Args:
            student_logprobs: nats, [sampled tokens] of each response.
            student_stop_logprobs: log of the student's stop mass where each response stopped, else None.
            has_sampled_text: whether a model wrote some of each prompt's messages; no prompt's, where omitted.
        """
        with self.stopwatch.timed("align"):
            aligned = AlignedResponse.of_batch(responses, self.student_vocab, self.teacher.vocab)
        with self.stopwatch.timed("render"):
            sampled = has_sampled_text or [False] * len(prompts)
            requests = [self._request(*row) for row in zip(prompts, aligned, sampled, strict=True)]
        with self.stopwatch.timed("teacher"):
            answers = self._answers(requests)
        with self.stopwatch.timed("credit"):
            advantages = self._advantages(aligned, student_logprobs, student_stop_logprobs, answers)
        rows = zip(prompts, aligned, student_logprobs, answers, advantages, requests, strict=True)
        return [_scored(*row) for row in rows]

    def _request(self, prompt: Prompt, aligned: AlignedResponse, has_sampled_text: bool) -> TeacherRequest | None:
        """What the teacher is asked; None where its template cannot show what is answered.

        A conversation that grows by tool calls may take a shape that no check before the run has seen.
        """
        try:
            prompt_ids = render_prompt(
                self.teacher.tokenizer, prompt, self._teacher_template_kwargs, self._tools, has_sampled_text
            )
        except TemplateRefusalError:
            return None
        has_stop = aligned.response.stop_position is not None and self.stop_unit
        return TeacherRequest(prompt_ids, aligned.encoding.ids.tolist(), has_stop)

    def _answers(self, requests: Sequence[TeacherRequest | None]) -> list[TeacherScore | DropReason]:
        asked = [request for request in requests if request is not None]
        scores = iter([_checked(*pair) for pair in zip(self.teacher.score(asked), asked, strict=True)])
        return [DropReason.TEACHER_TEMPLATE if request is None else next(scores) for request in requests]

    def _advantages(
        self,
        aligned: Sequence[AlignedResponse],
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
        answers: Sequence[TeacherScore | DropReason],
    ) -> list[np.ndarray]:
        """Of the supervised tokens of each response (`_supervised_positions`), computed on the whole batch at once."""
        student, teacher, chunks, sizes = [], [], [], []
        rows = zip(aligned, student_logprobs, student_stop_logprobs, answers, strict=True)
        for item, logprobs, stop_logprob, answer in rows:
            sizes.append(len(_supervised_positions(item, answer)))
            if isinstance(answer, DropReason):
                continue
            student.append(logprobs[item.student_positions])
            teacher.append(answer.logprobs[item.teacher_positions])
            chunks.append(item.alignment)
            if answer.stop_logprob is not None:
                student.append(np.array([stop_logprob], dtype=np.float32))
                teacher.append(np.array([answer.stop_logprob], dtype=np.float32))
                chunks.append(STOP_UNIT)
        flat = self.objective.advantages(_tensor(student), _tensor(teacher), Alignment.concatenate(chunks)).numpy()
        return np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []


def _checked(answer: TeacherScore | DropReason, request: TeacherRequest) -> TeacherScore | DropReason:
    """A score with a NaN or an infinity teaches nothing and would poison the whole step: the sample is dropped."""
    if isinstance(answer, DropReason):
        return answer
    if len(answer.logprobs) != len(request.response_ids) or (answer.stop_logprob is not None) != request.stopped:
        raise ValueError(
            f"the teacher scored {len(answer.logprobs)} tokens and stop {answer.stop_logprob} for a request of "
            f"{len(request.response_ids)} tokens with stopped={request.stopped}"
        )
    stop = 0.0 if answer.stop_logprob is None else answer.stop_logprob
    return answer if np.isfinite(answer.logprobs).all() and np.isfinite(stop) else DropReason.NON_FINITE


def _supervised_positions(aligned: AlignedResponse, answer: TeacherScore | DropReason) -> np.ndarray:
    if isinstance(answer, DropReason):
        return np.zeros(0, dtype=np.int64)
    if answer.stop_logprob is None:
        return aligned.student_positions
    assert aligned.response.stop_position is not None  # no other response is asked for its stop
    return np.append(aligned.student_positions, aligned.response.stop_position)


def _tensor(parts: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.float32), *parts]))


def _scored(
    prompt: Prompt,
    aligned: AlignedResponse,
    student_logprobs: np.ndarray,
    answer: TeacherScore | DropReason,
    values: np.ndarray,
    request: TeacherRequest | None,
) -> ScoredResponse:
    positions = _supervised_positions(aligned, answer)
    advantages = np.zeros(len(aligned.response.ids), dtype=np.float32)
    advantages[positions] = values
    mask = np.zeros(len(aligned.response.ids), dtype=bool)
    mask[positions] = True
    return ScoredResponse(
        prompt,
        aligned,
        student_logprobs,
        teacher=None if isinstance(answer, DropReason) else answer,
        dropped=answer if isinstance(answer, DropReason) else None,
        advantages=advantages,
        mask=mask,
        num_teacher_tokens=0 if request is None else len(request.prompt_ids) + len(request.response_ids),
    )
