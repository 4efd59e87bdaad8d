"""One teacher's scoring of a rollout, with every sampled token accounted for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np
from torch import Tensor

from crossdistill.align import DropReason
from crossdistill.chat import Response, TemplateRefusalError
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.aligned_batch import aligned_batch_of, supervised_positions
from crossdistill.distill.background import Answers, BackgroundScorer
from crossdistill.distill.groups import scored_groups, whole_groups
from crossdistill.distill.response import AlignedResponse, ScoredResponse
from crossdistill.distill.rollout import Turn
from crossdistill.distill.student import StudentLogprobs
from crossdistill.distill.timers import Timers
from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.tokens import ByteVocab

MAX_LOGPROB = 0.1
"""Nats. Rounding may bring a certain token's log-probability above 0, but no further than this."""


@dataclass(frozen=True)
class PendingScores:
    """Responses that were submitted to a teacher.

    Attributes:
        prompts, aligned: of each response.
        requests: None for a response whose prompt the teacher's template cannot show.
        answers: waits for the answers to the other requests, in order.
        groups: of each response.
    """

    prompts: Sequence[Prompt]
    aligned: Sequence[AlignedResponse]
    requests: Sequence[TeacherRequest | None]
    answers: Callable[[], Answers]
    groups: Sequence[int]


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

    def submit(
        self, turns: Sequence[Turn], responses: Sequence[Response], groups: Sequence[int] | None = None
    ) -> PendingScores:
        """Begin to score; a teacher that computes elsewhere works from now on, a local one in :meth:`collect`.

        Args:
            turns: sampled.
            responses: what each is.
            groups: whole ones, of each response; None if each is alone.
        """
        groups = range(len(turns)) if groups is None else groups
        with self._timers.timed("align"):
            aligned = AlignedResponse.of_batch(responses, self.pair.student, self.pair.teacher)
        with self._timers.timed("render"):
            rendered = self._rendered(turns)
            requests = [self._request(ids, one) for ids, one in zip(rendered, aligned, strict=True)]
        asked = [request for request in requests if request is not None]
        prompts = [turn.prompt for turn in turns]
        if not self.teacher.is_remote:
            return PendingScores(prompts, aligned, requests, partial(self._answers, asked), groups)
        self._background = self._background or BackgroundScorer(self._answers)
        return PendingScores(prompts, aligned, requests, self._background.submit(asked), groups)

    def collect(self, pending: PendingScores, student: StudentLogprobs) -> list[ScoredResponse]:
        """Wait for the teacher and assign credit: one result a response, in order."""
        with self._timers.timed("teacher"):
            answers = _one_each(pending)
        if self.objective.compares_groups:
            answers = whole_groups(answers, pending.aligned, pending.groups)
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

    def _rendered(self, turns: Sequence[Turn]) -> list[list[int] | None]:
        """The teacher's tokens of what is before each turn; None if its template refuses the conversation.

        A conversation that grows by tool calls may take a shape that no check before the run has seen.
        """
        if not any(turn.has_sampled_text for turn in turns):
            try:
                return list(self.renderer.render_all([turn.prompt for turn in turns]))
            except TemplateRefusalError:
                pass  # of one of them: below
        return [self._rendered_one(turn) for turn in turns]

    def _rendered_one(self, turn: Turn) -> list[int] | None:
        try:
            return self.renderer.render(turn.prompt, turn.has_sampled_text)
        except TemplateRefusalError:
            return None

    def _request(self, prompt_ids: list[int] | None, aligned: AlignedResponse) -> TeacherRequest | None:
        if prompt_ids is None:
            return None
        wants_stop = aligned.response.stop_position is not None and bool(self.pair.student_stops)
        return TeacherRequest(prompt_ids, aligned.encoding.ids.tolist(), wants_stop)

    def _answers(self, requests: Sequence[TeacherRequest]) -> Answers:
        signal, top_k = self.objective.signal, self.objective.num_named
        return check_answers(self.teacher.score(requests, signal, top_k), requests, signal, top_k)

    def _supervised(
        self, pending: PendingScores, answers: Answers, student: StudentLogprobs
    ) -> Iterator["_Supervised"]:
        """The responses that the teacher scored, credited together if its states are not read: these are large."""
        groups_of = iter(scored_groups(answers, pending.groups)) if self.objective.compares_groups else repeat(None)
        parts = [
            aligned_batch_of(aligned, answer, logprobs, stop, self.pair, next(groups_of))
            for aligned, answer, logprobs, stop in zip(
                pending.aligned, answers, student.tokens, student.stops, strict=True
            )
            if not isinstance(answer, DropReason)
        ]
        groups = [parts] if self.objective.signal is Signal.SAMPLED and parts else [[part] for part in parts]
        for group in groups:
            together = AlignedBatch.concatenate(group)
            sizes = [len(part.student.ids) for part in group]
            advantages = np.split(self._advantages(together), np.cumsum(sizes)[:-1])
            whole = self._reduced(together)
            for index, (part, values) in enumerate(zip(group, advantages, strict=True)):
                yield _Supervised(self._reduced(part), whole, index, values)

    def _advantages(self, batch: AlignedBatch) -> np.ndarray:
        advantages = self.objective.advantages(batch).detach().numpy()
        if advantages.shape != batch.student.ids.shape or not np.isfinite(advantages).all():
            raise InputError(
                f"objective {self.objective.name!r} gave advantages of shape {list(advantages.shape)} for "
                f"{len(batch.student.ids)} student tokens, or some that are not finite: one finite number each."
            )
        return advantages

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


def check_answers(answers: object, requests: Sequence[TeacherRequest], signal: Signal, top_k: int) -> Answers:
    """The answers of :meth:`crossdistill.teachers.Teacher.score`, checked against the contract.

    A score with a NaN or an infinity teaches nothing and would poison the whole step: it becomes
    ``DropReason.NON_FINITE``. Among the most probable tokens a probability of 0 means what it says.

    Args:
        answers: what the teacher returned.
        requests: what it was asked.
        signal, top_k: what was wanted at each position.

    Raises:
        InputError: something that the contract does not allow, with what it should be.
    """
    if not isinstance(answers, list | tuple) or len(answers) != len(requests):
        given = f"{len(answers)} answers" if isinstance(answers, list | tuple) else f"a {type(answers).__name__}"
        raise InputError(
            f"the teacher gave {given} for {len(requests)} requests: `score` returns a list, one for each."
        )
    return [_checked(answer, request, signal, top_k) for answer, request in zip(answers, requests, strict=True)]


def _checked(answer: object, request: TeacherRequest, signal: Signal, top_k: int) -> TeacherScore | DropReason:
    if isinstance(answer, DropReason):
        return answer
    if not isinstance(answer, TeacherScore):
        raise InputError(f"the teacher answered a {type(answer).__name__}: give a TeacherScore or a DropReason.")
    num_tokens, logprobs = len(request.response_ids), answer.logprobs
    if not isinstance(logprobs, np.ndarray) or logprobs.ndim != 1:
        raise InputError("the teacher's `logprobs` must be a numpy array with one value for each response token.")
    if len(logprobs) != num_tokens or (answer.stop_logprob is not None) != request.stopped:
        raise InputError(
            f"the teacher scored {len(logprobs)} tokens and stop {answer.stop_logprob} for a request of "
            f"{num_tokens} tokens with stopped={request.stopped}: `logprobs` has one value for each response token, "
            "and `stop_logprob` is None unless the request is stopped."
        )
    if signal is Signal.TOPK:
        _check_top_k(answer, num_tokens, top_k)
    if signal is Signal.DENSE and (answer.states is None or len(answer.states.hidden) != num_tokens + 1):
        raise InputError(
            f"the teacher was asked for its hidden states: `states.hidden` has {num_tokens + 1} rows for {num_tokens} "
            "response tokens, the last one after the response."
        )
    stop = 0.0 if answer.stop_logprob is None else answer.stop_logprob
    is_sound = bool(np.isfinite(logprobs).all()) and bool(np.isfinite(stop))
    if answer.topk is not None:
        is_sound = is_sound and not bool(answer.topk.logprobs.isnan().any())
    if not is_sound:
        return DropReason.NON_FINITE
    if max(stop, float(logprobs.max(initial=0.0))) > MAX_LOGPROB:
        raise InputError(
            "the teacher gave a log-probability above 0: `logprobs` and `stop_logprob` are in nats, at most 0."
        )
    return answer


def _check_top_k(answer: TeacherScore, num_tokens: int, top_k: int) -> None:
    """A vocabulary may have fewer tokens than `top_k`."""
    top = answer.topk
    is_right = top is not None and all(isinstance(values, Tensor) and values.dim() == 2 for values in top)
    if top is None or not is_right or not num_tokens + 1 == len(top.ids) == len(top.logprobs):
        raise InputError(
            f"the teacher was asked for its {top_k} most probable tokens: `topk` is a TopLogprobs of two torch "
            f"tensors, ids (int64) and logprobs (nats), of {num_tokens + 1} rows and {top_k} columns here: a row for "
            "each response token, and one for what follows the response."
        )
