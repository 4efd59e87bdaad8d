"""Strict 1:1: the divergence only at chunks of one student and one teacher token (2610.08448).

    L = sum over 1:1 chunks c of  D( p_S(. | prefix of c), p_T(. | prefix of c) )

over candidates K_c that both vocabularies have; D is KL(S || T) by default. K_c is

    top_k = 0                           all shared candidates                              Signal: DENSE
    top_k = k, chosen_by = "teacher"    those among the teacher's k most probable tokens   Signal: TOPK
    top_k = k, chosen_by = "student"    the student's k most probable shared ones, the     Signal: DENSE
                                        paper's choice
        with teacher_top_k = m          those of them that the teacher names: its m most   Signal: TOPK
                                        probable tokens and the realised one

What is outside K_c is left out on both sides, and they are renormalised; with `tail` it is one more entry on both
sides, and nothing is renormalised. Without a tail the student pays nothing for tokens outside K_c, and a position at
which the teacher names no shared candidate, or just one, counts with a loss of 0; with a tail one does if none is
named. A candidate with several ids has the sum of those that the teacher names.

At student == teacher the loss and its gradient are 0 (up to ids that the teacher did not name). No 1:1 chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, PairMeasure
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.shared_entries.candidates import (
    RowLoss,
    SharedCandidates,
    SharedHead,
    lowest,
    normalised,
    shared_divergence,
    tiled_rows,
)
from crossdistill.objectives.shared.shared_entries.tail import CandidateIds, dense_with_tail, named_with_tail
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import HiddenStates, TopLogprobs, chosen_logits
from crossdistill.ops.tiled import TiledSum
from crossdistill.signal import Signal

CHOOSERS = ("teacher", "student")


@dataclass(frozen=True)
class Strict(SharedCandidates):
    """The divergence over shared candidates at 1:1 chunks; a stop unit is one.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        temperature: divides the logits of both sides.
        top_k: how many candidates; 0 for all.
        chosen_by: whose most probable tokens they are, "teacher" or "student".
        tail: whether what is outside the candidates is one more entry on both sides.
        teacher_top_k: how many tokens the teacher names, if the student chooses and the teacher cannot give its whole
            distribution; 0 if it can.

    Example:
        >>> Strict().signal.value, Strict(top_k=128).signal.value
        ('dense', 'topk')
        >>> Strict(top_k=16, chosen_by="student", tail=True, teacher_top_k=20).signal.value
        'topk'
    """

    name: ClassVar[str] = "strict"

    top_k: int = 0
    chosen_by: str = "teacher"
    tail: bool = False
    teacher_top_k: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 0 or (self.top_k == 1 and not self.tail):
            raise InputError(
                f"top_k must be at least 2, or there is nothing to compare, or 0 (all candidates), not {self.top_k}."
            )
        if self.chosen_by not in CHOOSERS:
            raise InputError(f"candidates are chosen_by one of {', '.join(CHOOSERS)}, not {self.chosen_by!r}.")
        self._check_teacher_top_k()
        if self.tail and self.signal is Signal.TOPK and self.temperature != 1:
            raise InputError(
                f"the tail of a teacher that names its top k is known at temperature 1 alone, not at "
                f"{self.temperature:g}: set temperature = 1, or tail = false, or use a teacher that gives its whole "
                "distribution."
            )

    def _check_teacher_top_k(self) -> None:
        if not self.teacher_top_k:
            return
        if self.teacher_top_k < 0:
            raise InputError(
                f"teacher_top_k, how many tokens the teacher names, must be >= 0, not {self.teacher_top_k}."
            )
        if self.chosen_by != "student" or not self.top_k:
            raise InputError(
                'teacher_top_k is for candidates that the student chooses: set chosen_by = "student" and top_k, or '
                "give the number of the teacher's candidates as top_k alone."
            )
        if not self.tail:
            raise InputError(
                "with teacher_top_k the candidates are those that the student chooses and the teacher names, and the "
                "student could move its probability away from them unseen: set tail = true."
            )

    @property
    def signal(self) -> Signal:
        is_named = self.teacher_top_k or (self.top_k and self.chosen_by == "teacher")
        return Signal.TOPK if is_named else Signal.DENSE

    @property
    def num_named(self) -> int:
        return self.teacher_top_k or self.top_k

    def describe(self, measure: PairMeasure) -> str:
        if not self.top_k:
            entries = "the shared entries there (with top_k the teacher's most likely ones suffice)"
        elif self.chosen_by == "teacher":
            entries = f"the shared ones among the teacher's {self.top_k} most likely entries there"
        else:
            entries = f"the student's {self.top_k} most likely shared entries there"
        if self.teacher_top_k:
            entries += f", if the teacher names them among its {self.teacher_top_k}"
        if self.tail:
            entries += ", and all else as one entry"
        share = f"{100 * measure.one_to_one_share:.1f} % of the student's tokens"
        return f"learns from 1:1 chunks alone, {share}, and compares {entries}"

    def weight(self, batch: AlignedBatch) -> float:
        """The number of 1:1 chunks."""
        return float(batch.alignment.is_one_to_one.sum())

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over 1:1 chunks."""
        batch, pair = inputs.batch, inputs.batch.pair
        kept = torch.as_tensor(batch.alignment.is_one_to_one, device=batch.device)
        student = inputs.student.at(batch.student_splits[:-1][kept])
        rows = batch.teacher_splits[:-1][kept]
        if self.signal is Signal.TOPK:
            top = TopLogprobs(*(values[rows] for values in batch.teacher.most_probable))
            if self.tail:
                return LossSum(*self._with_named_tail(batch, student, top, rows, kept))
            return LossSum(self._of_teachers_choice(pair, student, top), {})
        teacher = batch.teacher.dense.at(rows)
        if self.tail:
            columns = pair.shared(batch.device)
            return LossSum(*dense_with_tail(columns, student, teacher, self.distance, self.temperature, self.top_k))
        if self.top_k:
            return LossSum(*tiled_rows(self._of_students_choice, pair, student, teacher, self.temperature))
        return LossSum(*shared_divergence(pair, student, teacher, self.distance, self.temperature))

    def _with_named_tail(
        self, batch: AlignedBatch, student: HiddenStates, top: TopLogprobs, rows: Tensor, kept: Tensor
    ) -> TiledSum:
        columns, chosen = batch.pair.shared(batch.device), 0
        if self.chosen_by == "student":
            is_stop = torch.as_tensor(batch.is_stop, device=batch.device)[kept]
            realised = TopLogprobs(batch.teacher.ids[rows], batch.teacher.logprobs[rows])
            top, chosen = _with_realised(top, realised, is_stop, batch.pair.teacher_stops), self.top_k
        named = TopLogprobs(*_merged_columns(columns.teacher, *top))
        return named_with_tail(columns, student, named, self.distance, chosen)

    def _of_students_choice(self, ours: SharedHead, theirs: SharedHead) -> RowLoss:
        def row_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
            student, teacher = ours.candidates(student_logits), theirs.candidates(teacher_logits)
            chosen = student.detach().topk(min(self.top_k, student.shape[1])).indices
            return self.distance(*(normalised(side.gather(1, chosen)) for side in (student, teacher)))

        return row_loss

    def _of_teachers_choice(self, pair: VocabPair, student: HiddenStates, top: TopLogprobs) -> Tensor:
        shared = pair.shared(top.ids.device)
        columns, teacher = _merged_columns(shared.teacher, top.ids, top.logprobs / self.temperature)
        ids, present = CandidateIds.of(shared.student)
        ids, present = ids[columns], present[columns]
        logits = chosen_logits(student.hidden, student.head, ids.flatten(1)).unflatten(1, ids.shape[1:])
        merged = (logits / self.temperature).masked_fill(~present, -torch.inf).logsumexp(-1)
        named = ~teacher.isneginf()
        sides = (side.masked_fill(~named, lowest(merged)) for side in (merged, teacher.to(merged.dtype)))
        return self.distance(*(normalised(side) for side in sides)).sum()


def _merged_columns(groups: Groups, ids: Tensor, logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """The candidates among the teacher's tokens, each once: their columns and log-probabilities, [N, k] each.

    Unused entries hold column 0 and -inf.
    """
    own, present = CandidateIds.of(groups)
    column_of = own.new_full((1 + max(int(own.max()), int(ids.max()) if ids.numel() else 0),), len(own))
    column_of[own[present]] = torch.arange(len(own), device=own.device)[:, None].expand_as(own)[present]
    columns, order = column_of[ids].sort(-1)  # tokens that the student lacks are last
    place = torch.zeros_like(columns)
    place[:, 1:] = (columns.diff() != 0).cumsum(-1)
    probs = logprobs.gather(1, order).exp().masked_fill(columns == len(own), 0)
    merged = torch.zeros_like(probs).scatter_add(1, place, probs).log()
    return torch.zeros_like(columns).scatter(1, place, columns).masked_fill(merged.isneginf(), 0), merged


def _with_realised(top: TopLogprobs, realised: TopLogprobs, is_stop: Tensor, stops: tuple[int, ...]) -> TopLogprobs:
    """The teacher's top k and its realised token, [N, k + 1]; unused entries hold -inf.

    Args:
        top: the most probable tokens at N positions.
        realised: the realised token at each, [N]; at a stop unit with the log-probability of all stop tokens.
        is_stop: bool [N], the stop units.
        stops: the teacher's stop tokens.
    """
    ids, logprobs = top
    is_part = is_stop[:, None] & torch.isin(ids, ids.new_tensor(stops))  # of what is known of all stops together
    is_known = (ids == realised.ids[:, None]).any(-1) & ~is_stop
    extra = realised.logprobs.to(logprobs).masked_fill(is_known, -torch.inf)
    return TopLogprobs(
        torch.cat([ids, realised.ids[:, None]], -1),
        torch.cat([logprobs.masked_fill(is_part, -torch.inf), extra[:, None]], -1),
    )
