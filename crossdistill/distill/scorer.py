"""One teacher's scoring of a rollout, with every sampled token accounted for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from crossdistill.align import DropReason
from crossdistill.chat import Response, TemplateRefusalError
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.aligned_batch import aligned_batch_of, supervised_positions
from crossdistill.distill.background import Answers, BackgroundScorer
from crossdistill.distill.response import AlignedResponse, ScoredResponse
from crossdistill.distill.rollout import Turn
from crossdistill.distill.student import StudentLogprobs
from crossdistill.distill.timers import Timers
from crossdistill.objectives.base import Objective
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers.answers import check_answers
from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class PendingScores:
    """Responses that were submitted to a teacher.

    Attributes:
        prompts, aligned: of each response.
        requests: None for a response whose prompt the teacher's template cannot show.
        answers: waits for the answers to the other requests, in order.
    """

    prompts: Sequence[Prompt]
    aligned: Sequence[AlignedResponse]
    requests: Sequence[TeacherRequest | None]
    answers: Callable[[], Answers]


def pair_of(student_vocab: ByteVocab, student_stop_ids: Sequence[int], teacher: Teacher, stop_unit: bool) -> VocabPair:
    """Both vocabularies; without stop tokens if the end of the turn is not taught."""
    stops = (tuple(sorted(student_stop_ids)), tuple(teacher.stop_ids)) if stop_unit else ((), ())
    return VocabPair(student_vocab, teacher.vocab, *stops)


class ResponseScorer:
    """Aligns sampled responses with a teacher's tokens, has them scored, and assigns credit.

    Args:
        objective: assigns credit, and says what it needs of the teacher.
        pair: both vocabularies and the stop tokens that are taught.
        teacher: scores.
        renderer: renders prompts for the teacher.
        timers: of the parts: render, align, teacher, credit.
    """

    def __init__(
        self, objective: Objective, pair: VocabPair, teacher: Teacher, renderer: PromptRenderer, timers: Timers
    ):
        self.objective = objective
        self.pair = pair
        self.teacher = teacher
        self.renderer = renderer
        self._timers = timers
        self._background: BackgroundScorer | None = None

    def submit(self, turns: Sequence[Turn], responses: Sequence[Response]) -> PendingScores:
        """Begin to score; a teacher that computes elsewhere works from now on, a local one in :meth:`collect`."""
        with self._timers.timed("align"):
            aligned = AlignedResponse.of_batch(responses, self.pair.student, self.pair.teacher)
        with self._timers.timed("render"):
            requests = [self._request(turn, one) for turn, one in zip(turns, aligned, strict=True)]
        asked = [request for request in requests if request is not None]
        prompts = [turn.prompt for turn in turns]
        if not self.teacher.is_remote:
            return PendingScores(prompts, aligned, requests, partial(self._answers, asked))
        self._background = self._background or BackgroundScorer(self._answers)
        return PendingScores(prompts, aligned, requests, self._background.submit(asked))

    def collect(self, pending: PendingScores, student: StudentLogprobs) -> list[ScoredResponse]:
        """Wait for the teacher and assign credit: one result a response, in order."""
        with self._timers.timed("teacher"):
            answers = _one_each(pending)
        with self._timers.timed("credit"):
            supervised = iter(self._supervised(pending, answers, student))
            return [
                self._dropped(pending, row, student.tokens[row], answer)
                if isinstance(answer, DropReason)
                else self._scored(pending, row, student.tokens[row], answer, next(supervised))
                for row, answer in enumerate(answers)
            ]

    def cancel(self) -> None:
        """Wait no longer for what a remote teacher was asked."""
        background, self._background = self._background, None
        if background is not None:
            background.cancel()
        self.teacher.close()

    def _request(self, turn: Turn, aligned: AlignedResponse) -> TeacherRequest | None:
        """None if the teacher's template refuses the conversation.

        A conversation that grows by tool calls may take a shape that no check before the run has seen.
        """
        try:
            prompt_ids = self.renderer.render(turn.prompt, turn.has_sampled_text)
        except TemplateRefusalError:
            return None
        wants_stop = aligned.response.stop_position is not None and bool(self.pair.student_stops)
        return TeacherRequest(prompt_ids, aligned.encoding.ids.tolist(), wants_stop)

    def _answers(self, requests: Sequence[TeacherRequest]) -> Answers:
        signal, top_k = self.objective.signal, self.objective.top_k
        return check_answers(self.teacher.score(requests, signal, top_k), requests, signal, top_k)

    def _supervised(
        self, pending: PendingScores, answers: Answers, student: StudentLogprobs
    ) -> Iterator["_Supervised"]:
        """The responses that the teacher scored, credited together if its states are not read: these are large."""
        parts = [
            aligned_batch_of(aligned, answer, logprobs, stop, self.pair)
            for aligned, answer, logprobs, stop in zip(
                pending.aligned, answers, student.tokens, student.stops, strict=True
            )
            if not isinstance(answer, DropReason)
        ]
        groups = [parts] if self.objective.signal is Signal.SAMPLED and parts else [[part] for part in parts]
        for group in groups:
            together = AlignedBatch.concatenate(group)
            sizes = [len(part.student.ids) for part in group]
            advantages = np.split(self.objective.advantages(together).numpy(), np.cumsum(sizes)[:-1])
            whole = self._reduced(together)
            for index, (part, values) in enumerate(zip(group, advantages, strict=True)):
                yield _Supervised(self._reduced(part), whole, index, values)

    def _reduced(self, batch: AlignedBatch) -> AlignedBatch:
        """Without what the loss does not need."""
        needed, teacher = self.objective.loss_signal, batch.teacher
        return batch.with_teacher(
            teacher.states if needed is Signal.DENSE else None, teacher.topk if needed is Signal.TOPK else None
        )

    def _dropped(
        self, pending: PendingScores, row: int, student_logprobs: np.ndarray, reason: DropReason | None
    ) -> ScoredResponse:
        aligned, request = pending.aligned[row], pending.requests[row]
        num_tokens = len(aligned.response.ids)
        return ScoredResponse(
            pending.prompts[row],
            aligned,
            student_logprobs,
            teacher=None,
            dropped=reason,
            advantages=np.zeros(num_tokens, dtype=np.float32),
            mask=np.zeros(num_tokens, dtype=bool),
            weight=0.0,
            num_teacher_tokens=0 if request is None else len(request.prompt_ids) + len(request.response_ids),
        )

    def _scored(
        self, pending: PendingScores, row: int, student_logprobs: np.ndarray, score: TeacherScore, own: "_Supervised"
    ) -> ScoredResponse:
        scored = self._dropped(pending, row, student_logprobs, None)
        positions = supervised_positions(scored.aligned, score)
        scored.advantages[positions] = own.advantages
        scored.mask[positions] = True
        return replace(
            scored,
            teacher=TeacherScore(score.logprobs, score.stop_logprob),
            weight=self.objective.weight(own.batch),
            batch=own.batch,
            group=own.group,
            index=own.place,
        )


class _Supervised(NamedTuple):
    """A response by itself, the group that it was credited in, its number there, and its advantages."""

    batch: AlignedBatch
    group: AlignedBatch
    place: int
    advantages: np.ndarray


def _one_each(pending: PendingScores) -> Answers:
    """One answer a response, in order; a response that the teacher was not asked about has its reason."""
    answers = iter(pending.answers())
    return [DropReason.TEACHER_TEMPLATE if request is None else next(answers) for request in pending.requests]
