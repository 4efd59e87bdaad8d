"""Several teachers: each scores its responses, or all score every response with weights.

If several teachers score one response with weights w, the advantage of a token is

    A_i = sum_t w_t A_i^t / sum_t w_t        over the teachers t that supervise the token.

Each A^t is a difference of two log-probabilities, so this is the advantage under the geometric mean of the teachers'
probabilities. It is taken at the tokens that the teacher of the largest weight supervises; alignment, figures and
counts of the response are that teacher's too. If any teacher drops a response, the response is dropped and counted
under that teacher's reason; averaging the others would silently change the objective.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from crossdistill.chat import Response
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Turn
from crossdistill.distill.routing import Weights
from crossdistill.distill.scorer import PendingScores, ResponseScorer
from crossdistill.distill.student import StudentLogprobs

T = TypeVar("T")


@dataclass(frozen=True)
class PendingOfSeveral:
    """Responses, the weights of their teachers, and what each teacher was asked: of which responses."""

    weights: Sequence[Weights]
    by_teacher: Mapping[str, tuple[list[int], PendingScores]]


class MultiTeacherScorer:
    """Several teachers by name, each with a scorer of its own.

    Args:
        scorers: by the teachers' names.
    """

    def __init__(self, scorers: Mapping[str, ResponseScorer]):
        self.scorers = dict(scorers)

    def submit(
        self, turns: Sequence[Turn], responses: Sequence[Response], weights: Sequence[Weights]
    ) -> PendingOfSeveral:
        """Begin to score; see :meth:`ResponseScorer.submit`. `weights` are those of each turn's teachers."""
        by_teacher = {}
        for name, scorer in self.scorers.items():
            own = [k for k, of_turn in enumerate(weights) if name in of_turn]
            if own:
                by_teacher[name] = own, scorer.submit(_chosen(turns, own), _chosen(responses, own))
        return PendingOfSeveral(weights, by_teacher)

    def collect(self, pending: PendingOfSeveral, student: StudentLogprobs) -> list[ScoredResponse]:
        """One result a response; see :meth:`ResponseScorer.collect`."""
        scored: list[dict[str, ScoredResponse]] = [{} for _ in pending.weights]
        for name, (rows, own) in pending.by_teacher.items():
            logprobs = StudentLogprobs(_chosen(student.tokens, rows), _chosen(student.stops, rows))
            for row, item in zip(rows, self.scorers[name].collect(own, logprobs), strict=True):
                scored[row][name] = replace(item, teacher_name=name)
        return [_combined(items, weights) for items, weights in zip(scored, pending.weights, strict=True)]

    def cancel(self) -> None:
        """Wait no longer for any teacher."""
        for scorer in self.scorers.values():
            scorer.cancel()


def _chosen(values: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [values[row] for row in rows]


def _combined(items: Mapping[str, ScoredResponse], weights: Weights) -> ScoredResponse:
    """The response under all teachers that scored it, or as one that dropped it leaves it."""
    ranked = sorted(items, key=lambda name: (items[name].dropped is None, -weights[name]))
    first, *others = (items[name] for name in ranked)
    if not others or first.dropped is not None:
        return replace(first, others=tuple(others))
    total = sum(weights[name] * items[name].mask for name in ranked)
    value = sum(weights[name] * items[name].mask * items[name].advantages for name in ranked)
    advantages = np.divide(value, total, out=np.zeros_like(first.advantages), where=first.mask)
    return replace(first, advantages=advantages, others=tuple(others))
