"""From sampled responses to the batch that an objective sees, with every token accounted for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from crossdistill.align import DropReason
from crossdistill.chat import Response, TemplateRefusalError, render_prompt, split_response
from crossdistill.chat.messages import Prompt
from crossdistill.distill.aligned_batch import aligned_batch_of, supervised_positions
from crossdistill.distill.background import Answers, BackgroundScorer
from crossdistill.distill.response import AlignedResponse, ScoredResponse
from crossdistill.distill.timers import Timers
from crossdistill.objectives import AlignedBatch, Objective, VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedTeacher
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class PendingScores:
    """Responses that the teacher is asked about.

    requests: None where its template cannot show what is answered. answers: waits for those to the others, in order.
    """

    prompts: Sequence[Prompt]
    aligned: Sequence[AlignedResponse]
    requests: Sequence[TeacherRequest | None]
    answers: Callable[[], Answers]


def pair_of(student_vocab: ByteVocab, student_stop_ids: Sequence[int], teacher: Teacher, stop_unit: bool) -> VocabPair:
    """Both vocabularies; without stop tokens where the end of the turn is not taught."""
    stops = (tuple(sorted(student_stop_ids)), tuple(teacher.stop_ids)) if stop_unit else ((), ())
    return VocabPair(student_vocab, teacher.vocab, *stops)


class ResponseScorer:
    """Aligns sampled responses with the teacher's tokens, has them scored, and assigns credit.

    Attributes:
        pair: both vocabularies, see :func:`pair_of`. Objectives keep tables of the one that they know.
        timers: of its parts: render, align, teacher, credit.
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
        timers: Timers | None = None,
        pair: VocabPair | None = None,
    ):
        self.objective = objective
        self.student_vocab = student_vocab
        self.student_stop_ids = frozenset(student_stop_ids)
        self.teacher = teacher
        self.stop_unit = stop_unit
        self.timers = timers or Timers()
        self.pair = pair or pair_of(student_vocab, student_stop_ids, teacher, stop_unit)
        self._teacher_template_kwargs = teacher_template_kwargs
        self._tools = tools
        self._elsewhere: BackgroundScorer | None = None

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
        """:meth:`ask` and :meth:`finish` in one."""
        return self.finish(self.ask(prompts, responses, has_sampled_text), student_logprobs, student_stop_logprobs)

    def ask(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], has_sampled_text: Sequence[bool] | None = None
    ) -> PendingScores:
        """Begin to score; a teacher that computes elsewhere does so from now on.

        has_sampled_text: whether a model wrote some of each prompt's messages; no prompt's, where omitted.
        """
        with self.timers.timed("align"):
            aligned = AlignedResponse.of_batch(responses, self.student_vocab, self.teacher.vocab)
        with self.timers.timed("render"):
            sampled = has_sampled_text or [False] * len(prompts)
            requests = [self._request(*row) for row in zip(prompts, aligned, sampled, strict=True)]
        asked = [request for request in requests if request is not None]
        if not self.teacher.is_remote:
            return PendingScores(prompts, aligned, requests, partial(self._answers, asked))
        self._elsewhere = self._elsewhere or BackgroundScorer(self._answers)
        return PendingScores(prompts, aligned, requests, self._elsewhere.ask(asked))

    def finish(
        self,
        asked: PendingScores,
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
    ) -> list[ScoredResponse]:
        """One result a response, in order.

        Args:
            student_logprobs: nats, [sampled tokens] of each response.
            student_stop_logprobs: log of the student's stop mass where each response stopped, else None.
        """
        with self.timers.timed("teacher"):
            answers = _in_their_places(asked)
        with self.timers.timed("credit"):
            rows = zip(asked.aligned, answers, student_logprobs, student_stop_logprobs, strict=True)
            batch = [self._evidence(*row) for row in rows]
            advantages = self._advantages(batch)
            kept = [part and self._reduced(part) for part in batch]
        given = asked.prompts, asked.aligned, student_logprobs
        together = zip(*given, answers, kept, advantages, asked.requests, strict=True)
        return [self._scored(*row) for row in together]

    def abandon(self) -> None:
        """Wait no longer for what a teacher elsewhere was asked."""
        waiting, self._elsewhere = self._elsewhere, None
        if waiting is not None:
            waiting.abandon()
        if isinstance(self.teacher, ServedTeacher):
            self.teacher.close()

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

    def _answers(self, requests: Sequence[TeacherRequest]) -> Answers:
        answers = self.teacher.score(requests, self.objective.signal, self.objective.top_k)
        return [_checked(*pair) for pair in zip(answers, requests, strict=True)]

    def _evidence(
        self,
        aligned: AlignedResponse,
        answer: TeacherScore | DropReason,
        logprobs: np.ndarray,
        stop_logprob: float | None,
    ) -> AlignedBatch | None:
        if isinstance(answer, DropReason):
            return None
        return aligned_batch_of(aligned, answer, logprobs, stop_logprob, self.pair)

    def _advantages(self, batch: Sequence[AlignedBatch | None]) -> list[np.ndarray]:
        """Of the supervised tokens of each response: all at once, or one by one where the teacher's states are read."""
        parts = [part for part in batch if part is not None]
        groups = [parts] if self.objective.signal is Signal.SAMPLED and parts else [[part] for part in parts]
        flat = [self.objective.advantages(AlignedBatch.concatenate(group)).numpy() for group in groups]
        sizes = [0 if part is None else len(part.student.ids) for part in batch]
        return np.split(np.concatenate([np.zeros(0, dtype=np.float32), *flat]), np.cumsum(sizes)[:-1]) if sizes else []

    def _reduced(self, part: AlignedBatch) -> AlignedBatch:
        """Without what the loss does not need: states are large."""
        needed, teacher = self.objective.loss_signal, part.teacher
        return part.with_teacher(
            teacher.states if needed is Signal.DENSE else None, teacher.topk if needed is Signal.TOPK else None
        )

    def _scored(
        self,
        prompt: Prompt,
        aligned: AlignedResponse,
        student_logprobs: np.ndarray,
        answer: TeacherScore | DropReason,
        batch: AlignedBatch | None,
        values: np.ndarray,
        request: TeacherRequest | None,
    ) -> ScoredResponse:
        score = None if isinstance(answer, DropReason) else answer
        positions = np.zeros(0, dtype=np.int64) if score is None else supervised_positions(aligned, score)
        advantages = np.zeros(len(aligned.response.ids), dtype=np.float32)
        advantages[positions] = values
        mask = np.zeros(len(aligned.response.ids), dtype=bool)
        mask[positions] = True
        return ScoredResponse(
            prompt,
            aligned,
            student_logprobs,
            teacher=score and TeacherScore(score.logprobs, score.stop_logprob),
            dropped=answer if isinstance(answer, DropReason) else None,
            batch=batch,
            advantages=advantages,
            mask=mask,
            weight=0.0 if batch is None else self.objective.weight(batch),
            num_teacher_tokens=0 if request is None else len(request.prompt_ids) + len(request.response_ids),
        )


def _in_their_places(asked: PendingScores) -> Answers:
    """One answer a response, also where nothing could be asked."""
    answers = iter(asked.answers())
    return [DropReason.TEACHER_TEMPLATE if request is None else next(answers) for request in asked.requests]


def _checked(answer: TeacherScore | DropReason, request: TeacherRequest) -> TeacherScore | DropReason:
    """A score with a NaN or an infinity teaches nothing and would poison the whole step: the sample is dropped.

    Among the most probable tokens a probability of 0 means what it says.
    """
    if isinstance(answer, DropReason):
        return answer
    if len(answer.logprobs) != len(request.response_ids) or (answer.stop_logprob is not None) != request.stopped:
        raise ValueError(
            f"the teacher scored {len(answer.logprobs)} tokens and stop {answer.stop_logprob} for a request of "
            f"{len(request.response_ids)} tokens with stopped={request.stopped}"
        )
    stop = 0.0 if answer.stop_logprob is None else answer.stop_logprob
    is_sound = np.isfinite(answer.logprobs).all() and np.isfinite(stop)
    if answer.topk is not None:
        is_sound = is_sound and not answer.topk.logprobs.isnan().any()
    return answer if is_sound else DropReason.NON_FINITE
