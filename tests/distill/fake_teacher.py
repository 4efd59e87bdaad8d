"""A teacher that answers what it is told, and what the scorer must make of its answers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crossdistill import ByteVocab
from crossdistill.align import Coverage, DropReason
from crossdistill.chat import Response, split_response
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Rollout, ScoredResponse
from crossdistill.distill.scorer import ResponseScorer, pair_of
from crossdistill.distill.student import StudentLogprobs
from crossdistill.distill.timers import Timers
from crossdistill.objectives import Objective, get
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from tests.oracles.alignment import pieces_of, synchronised
from tests.oracles.credit import credit

MAX_ADVANTAGE = 10.0
Answer = TeacherScore | DropReason
PROMPT = [{"role": "user", "content": "?"}]


def score_of(request: TeacherRequest) -> TeacherScore:
    """Log-probabilities that depend on the token and on its place."""
    logprobs = [-0.05 - (token * 7 + place * 3) % 40 / 20 for place, token in enumerate(request.response_ids)]
    return TeacherScore(np.array(logprobs, dtype=np.float32), -0.75 if request.stopped else None)


def poisoned(value: float, at: int = 0) -> Callable[[TeacherRequest], Answer]:
    def answer(request: TeacherRequest) -> Answer:
        score = score_of(request)
        score.logprobs[at] = value
        return score

    return answer


def poisoned_stop(value: float) -> Callable[[TeacherRequest], Answer]:
    return lambda request: TeacherScore(score_of(request).logprobs, value)


def too_long(request: TeacherRequest) -> Answer:
    return DropReason.TEACHER_CONTEXT


class FakeTeacher(Teacher):
    """answers: one a request, in turn; score_of where there are none left."""

    stop_ids = (0,)

    def __init__(self, tokenizer: Any, vocab: ByteVocab, answers: Sequence[Callable[[TeacherRequest], Answer]] = ()):
        self.tokenizer, self.vocab, self.answers = tokenizer, vocab, list(answers)
        self.requests: list[TeacherRequest] = []

    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[Answer]:
        self.requests += requests
        answers = [*self.answers, *[score_of] * (len(requests) - len(self.answers))]
        return [answer(request) for answer, request in zip(answers, requests, strict=True)]


def student_logprobs(ids: Sequence[int]) -> np.ndarray:
    return np.array([-0.02 - (token * 5 + place) % 50 / 12 for place, token in enumerate(ids)], dtype=np.float32)


def scored(
    objective: Objective,
    teacher: Teacher,
    vocab: ByteVocab,
    stops: Sequence[int],
    completions: Sequence[Sequence[int]],
    stop_unit: bool = True,
    template_kwargs: dict[str, Any] | None = None,
) -> tuple[list[ScoredResponse], Timers]:
    """The completions as answers to PROMPT, with made-up log-probabilities of the student."""
    timers = Timers()
    pair = pair_of(vocab, stops, teacher, stop_unit)
    renderer = PromptRenderer(teacher.tokenizer, template_kwargs or {}, [])
    scorer = ResponseScorer(objective, pair, teacher, renderer, timers)
    turns = Rollout.of([PROMPT] * len(completions), [[]] * len(completions), completions).turns
    responses = [split_response(ids, vocab, set(stops)) for ids in completions]
    masses = [None if item.stop_position is None else -0.25 for item in responses]
    student = StudentLogprobs([student_logprobs(ids) for ids in completions], masses)
    return scorer.collect(scorer.submit(turns, responses), student), timers


def scored_by(
    teacher: Teacher, vocab: ByteVocab, stops: Sequence[int], completions: Sequence[Sequence[int]], **options: Any
) -> list[ScoredResponse]:
    return scored(get("dpca", max_advantage=MAX_ADVANTAGE), teacher, vocab, stops, completions, **options)[0]


def expected_advantages(
    response: Response, vocab: ByteVocab, teacher: FakeTeacher, stop_unit: bool = True
) -> list[float]:
    """Worked out by the twins, one response alone."""
    encoding = teacher.vocab.encode(response.data)
    request = TeacherRequest([], encoding.ids.tolist(), False)
    student_pieces = [vocab.pieces[token] for token in response.text_ids]
    teacher_pieces = pieces_of(response.data, encoding.ends.tolist())
    borders = synchronised(student_pieces, teacher_pieces)
    values = credit(
        student_logprobs(response.ids)[response.text_positions].tolist(),
        score_of(request).logprobs.tolist(),
        [border[0] for border in borders],
        [border[1] for border in borders],
        "semantic_prior",
    )
    row = [0.0] * len(response.ids)
    for position, value in zip(response.text_positions, values, strict=True):
        row[position] = min(max(value, -MAX_ADVANTAGE), MAX_ADVANTAGE)
    if response.stop_position is not None and stop_unit:
        row[response.stop_position] = -0.75 + 0.25
    return row


def total(scored: Sequence[ScoredResponse]) -> Coverage:
    coverage = Coverage()
    for item in scored:
        coverage.add(item.coverage)
    return coverage
