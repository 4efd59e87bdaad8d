"""The teachers of a run, each with a scorer of its own, and their common judgement of a response.

Where several judge one response with weights w, the advantage of a token is

    A_i = sum_t w_t A_i^t / sum_t w_t        over the teachers t that supervise the token.

Each A^t is the difference of two log-probabilities, so that this is the advantage under the geometric mean of what the
teachers make of the token. It is taken at the tokens that the first of them supervises (the one of the largest weight),
whose alignment, figures and counts are those of the response. A response that one of them drops is dropped under that
one's reason: under the others alone it would teach something else than it is said to.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from crossdistill.chat import Response
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.routing import Weights
from crossdistill.distill.scorer import PendingScores, ResponseScorer
from crossdistill.distill.timers import Timers
from crossdistill.objectives import VocabPair
from crossdistill.train.monitor.template_warnings import HistoryCounts, TemplateWarnings
from crossdistill.train.preflight.setup import Setup

T = TypeVar("T")


@dataclass(frozen=True)
class Seat:
    """One teacher of a panel: its scorer, how its prompts are rendered, and what a user should know of that."""

    scorer: ResponseScorer
    side: PromptRenderer
    notes: TemplateWarnings


@dataclass(frozen=True)
class Question:
    """Responses, by whom they are judged, and what each teacher is asked: of which of them."""

    responses: list[Response]
    weights: list[Weights]
    asked: Mapping[str, tuple[list[int], PendingScores]]


class MultiTeacherScorer:
    """One or several teachers by their names, whose scorers share a timers."""

    def __init__(self, seats: Mapping[str, Seat], timers: Timers):
        self.seats = dict(seats)
        self.timers = timers

    @classmethod
    def of(cls, trainer: Any, setup: Setup, pairs: Mapping[str, VocabPair]) -> "MultiTeacherScorer":
        """The teachers that a trainer has loaded. pairs: the student's vocabulary and theirs."""
        timers, told, seats = Timers(), set[str](), {}
        student, tools = trainer.student_side, trainer.tools or None
        for name, one in setup.teachers.items():
            side = one.side(trainer.tools)
            scorer = ResponseScorer(
                trainer.objective,
                trainer.student_vocab,
                trainer.eos_token_ids,
                trainer.teachers[name],
                one.template_kwargs,
                trainer.args.stop_unit,
                tools,
                timers,
                pairs[name],
            )
            notes = TemplateWarnings(student, side, trainer.accelerator.is_main_process, one.label, told)
            seats[name] = Seat(scorer, side, notes)
        return cls(seats, timers)

    def ask(self, rollout: Rollout, weights: Sequence[Weights]) -> Question:
        """Begin to score a rollout; see :meth:`ResponseScorer.ask`. weights: of each of its rows."""
        turns = rollout.turns
        responses = next(iter(self.seats.values())).scorer.split([turn.ids for turn in turns])
        of_turns = [weights[turn.row] for turn in turns]
        asked = {}
        for name, seat in self.seats.items():
            own = _rows_of(name, of_turns)
            if own:
                asked_turns = _chosen(turns, own)
                prompts = [turn.prompt for turn in asked_turns]
                has_sampled_text = [turn.has_sampled_text for turn in asked_turns]
                asked[name] = own, seat.scorer.ask(prompts, _chosen(responses, own), has_sampled_text)
        return Question(responses, of_turns, asked)

    def finish(
        self,
        questions: Sequence[Question],
        student_logprobs: Sequence[np.ndarray],
        student_stop_logprobs: Sequence[float | None],
    ) -> list[ScoredResponse]:
        """One result a response, question by question; see :meth:`ResponseScorer.finish`."""
        scored: list[ScoredResponse] = []
        for question in questions:
            own = slice(len(scored), len(scored) + len(question.responses))
            scored += self._finish(question, student_logprobs[own], student_stop_logprobs[own])
        return scored

    @contextmanager
    def abandoned_on_error(self) -> Iterator[None]:
        """Where the caller ends early, nobody waits for a teacher any more: such threads would keep the process."""
        try:
            yield
        except BaseException:
            for seat in self.seats.values():
                seat.scorer.abandon()
            raise

    def _finish(
        self, question: Question, logprobs: Sequence[np.ndarray], stop_logprobs: Sequence[float | None]
    ) -> list[ScoredResponse]:
        judged: list[dict[str, ScoredResponse]] = [{} for _ in question.responses]
        for name, (rows, asked) in question.asked.items():
            own = _chosen(logprobs, rows), _chosen(stop_logprobs, rows)
            for row, item in zip(rows, self.seats[name].scorer.finish(asked, *own), strict=True):
                judged[row][name] = replace(item, teacher_name=name)
        return [_together(items, weights) for items, weights in zip(judged, question.weights, strict=True)]

    def see(self, prompts: Sequence[Prompt], weights: Sequence[Weights]) -> None:
        """Tell what the templates of student and teachers do to prompts, before they are rendered."""
        for name, seat in self.seats.items():
            seat.notes.see(_chosen(prompts, _rows_of(name, weights)))

    def see_scored(self, rollout: Rollout, scored: Sequence[ScoredResponse], student: PromptRenderer) -> HistoryCounts:
        """Tell what became of earlier answers, and of control tokens.

        student: how its prompts are rendered. Returns the former, of all teachers together.
        """
        total = shown = HistoryCounts.shown(rollout.prompts, student)
        for name, seat in self.seats.items():
            own = [k for k, item in enumerate(scored) if item.teacher_name == name]
            read = HistoryCounts.read([turn.prompt for turn in _chosen(rollout.turns, own)], seat.side)
            seat.notes.see_histories(shown + read)
            seat.notes.see_responses([item.response for item in _chosen(scored, own)])
            total += read
        return total


def _rows_of(name: str, weights: Sequence[Weights]) -> list[int]:
    """Responses that this teacher judges."""
    return [row for row, judges in enumerate(weights) if name in judges]


def _chosen(values: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [values[row] for row in rows]


def _together(items: Mapping[str, ScoredResponse], weights: Weights) -> ScoredResponse:
    """What all who judged a response say of it; that of one who cannot."""
    ranked = sorted(items, key=lambda name: (items[name].dropped is None, -weights[name]))
    first, *others = (items[name] for name in ranked)
    if not others or first.dropped is not None:
        return replace(first, others=tuple(others))
    total = sum(weights[name] * items[name].mask for name in ranked)
    value = sum(weights[name] * items[name].mask * items[name].advantages for name in ranked)
    advantages = np.divide(value, total, out=np.zeros_like(first.advantages), where=first.mask)
    return replace(first, advantages=advantages, others=tuple(others))
