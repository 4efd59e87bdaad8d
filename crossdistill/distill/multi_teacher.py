"""Several teachers: each scores its responses, or all score every response with weights; and a reference.

If several teachers score one response with weights w, the advantage of a token is

    A_i = sum_t w_t A_i^t / sum_t w_t        over the teachers t that supervise the token.

Each A^t is a difference of two log-probabilities, so this is the advantage under the geometric mean of the teachers'
probabilities. It is taken at the tokens that the teacher of the largest weight supervises; alignment, figures and
counts of the response are that teacher's too. If any teacher drops a response, the response is dropped and counted
under that teacher's reason; averaging the others would silently change the objective.

A reference (:mod:`crossdistill.distill.routing`) scores every response, and what it says is no merit of the teacher:

    A_i = A_i^teachers - A_i^reference,      each by its own alignment and credit,

which with one tokenizer is the share of token i in log q - log q_ref of its chunk. A chunk of the teacher with a token
that the reference does not supervise is left out whole, and counted (``no_reference``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from crossdistill.align.coverage import Count
from crossdistill.chat import Response
from crossdistill.distill.aligned_batch import with_chunks
from crossdistill.distill.names import REFERENCE
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Turn
from crossdistill.distill.routing import Weights
from crossdistill.distill.scorer import PendingScores, ResponseScorer
from crossdistill.distill.student import StudentLogprobs
from crossdistill.objectives.base import Objective

T = TypeVar("T")


@dataclass(frozen=True)
class PendingOfSeveral:
    """Responses, the weights of their teachers, and what each teacher was asked: of which responses."""

    weights: Sequence[Weights]
    by_teacher: Mapping[str, tuple[list[int], PendingScores]]


class MultiTeacherScorer:
    """Several teachers by name, each with a scorer of its own.

    Args:
        scorers: by the teachers' names, all for one objective.
    """

    def __init__(self, scorers: Mapping[str, ResponseScorer]):
        self.scorers = dict(scorers)
        self._objective = next(iter(self.scorers.values())).objective

    def submit(
        self, turns: Sequence[Turn], responses: Sequence[Response], weights: Sequence[Weights], groups: Sequence[int]
    ) -> PendingOfSeveral:
        """Begin to score; see :meth:`ResponseScorer.submit`. `weights` are those of each turn's teachers, which are the
        same for all of a group."""
        by_teacher = {}
        for name, scorer in self.scorers.items():
            own = [k for k, of_turn in enumerate(weights) if name in of_turn]
            if own:
                asked = scorer.submit(_chosen(turns, own), _chosen(responses, own), _chosen(groups, own))
                by_teacher[name] = own, asked
        return PendingOfSeveral(weights, by_teacher)

    def collect(self, pending: PendingOfSeveral, student: StudentLogprobs) -> list[ScoredResponse]:
        """One result a response; see :meth:`ResponseScorer.collect`."""
        scored: list[dict[str, ScoredResponse]] = [{} for _ in pending.weights]
        for name, (rows, own) in pending.by_teacher.items():
            logprobs = StudentLogprobs(_chosen(student.tokens, rows), _chosen(student.stops, rows))
            for row, item in zip(rows, self.scorers[name].collect(own, logprobs), strict=True):
                scored[row][name] = replace(item, teacher_name=name)
        combined = [_combined(items, weights) for items, weights in zip(scored, pending.weights, strict=True)]
        return [
            _less(item, items[REFERENCE], self._objective) if REFERENCE in items and item.dropped is None else item
            for item, items in zip(combined, scored, strict=True)
        ]

    def cancel(self) -> None:
        """Wait no longer for any teacher."""
        for scorer in self.scorers.values():
            scorer.cancel()


def _chosen(values: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [values[row] for row in rows]


def _combined(items: Mapping[str, ScoredResponse], weights: Weights) -> ScoredResponse:
    """The response under all teachers that teach, or as one that dropped it, the reference too, leaves it."""
    ranked = sorted(items, key=lambda name: (items[name].dropped is None, -weights[name]))
    first, *others = (items[name] for name in ranked)
    teaching = [name for name in ranked if name != REFERENCE]
    if len(teaching) == 1 or first.dropped is not None:
        return replace(first, others=tuple(others))
    total = sum(weights[name] * items[name].mask for name in teaching)
    value = sum(weights[name] * items[name].mask * items[name].advantages for name in teaching)
    advantages = np.divide(value, total, out=np.zeros_like(first.advantages), where=first.mask)
    return replace(first, advantages=advantages, others=tuple(others))


def _less(item: ScoredResponse, reference: ScoredResponse, objective: Objective) -> ScoredResponse:
    """The response with its advantages less the reference's, in the chunks that the reference scores whole."""
    assert item.batch is not None
    sizes = item.batch.alignment.student_sizes
    kept = np.logical_and.reduceat(reference.mask[item.mask], item.batch.alignment.student_splits[:-1])
    mask = item.mask.copy()
    mask[item.mask] = np.repeat(kept, sizes)
    advantages = np.where(mask, item.advantages - reference.advantages, np.float32(0))
    if kept.all():
        return replace(item, advantages=advantages)
    batch = with_chunks(item.batch, kept)
    widths = np.diff(item.batch.alignment.byte_splits) * ~item.batch.is_stop
    return replace(
        item,
        advantages=advantages,
        mask=mask,
        weight=objective.weight(batch),
        batch=batch,
        group=batch,
        index=0,
        without_reference=Count(int(sizes[~kept].sum()), int(widths[~kept].sum())),
    )
