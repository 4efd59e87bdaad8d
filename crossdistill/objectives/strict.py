"""Strict 1:1: the divergence only at chunks of one student and one teacher token (2610.08448).

    L = sum over 1:1 chunks c of  D( p_S(. | prefix of c), p_T(. | prefix of c) )

with both distributions restricted to candidates K_c that both vocabularies have and renormalised over them; D is
KL(S || T) by default. K_c is

    top_k = 0                           all shared candidates                              Signal: DENSE
    top_k = k, chosen_by = "teacher"    those among the teacher's k most probable tokens   Signal: TOPK
    top_k = k, chosen_by = "student"    the student's k most probable shared ones, the     Signal: DENSE
                                        paper's choice

Probability outside K_c is left out on both sides and not gathered in a rest: if the teacher chooses, the student pays
nothing for tokens that the teacher did not name. A position at which the teacher names no shared candidate, or just
one, counts with a loss of 0. A candidate with several ids has the sum of those that the teacher names.

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
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import HiddenStates, TopLogprobs, chosen_logits
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

    Example:
        >>> Strict().signal.value, Strict(top_k=128).signal.value
        ('dense', 'topk')
    """

    name: ClassVar[str] = "strict"

    top_k: int = 0
    chosen_by: str = "teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 0 or self.top_k == 1:
            raise InputError(
                f"top_k must be at least 2, or there is nothing to compare, or 0 (all candidates), not {self.top_k}."
            )
        if self.chosen_by not in CHOOSERS:
            raise InputError(f"candidates are chosen_by one of {', '.join(CHOOSERS)}, not {self.chosen_by!r}.")

    @property
    def signal(self) -> Signal:
        return Signal.TOPK if self.top_k and self.chosen_by == "teacher" else Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        if not self.top_k:
            entries = "the shared entries there (with top_k the teacher's most likely ones suffice)"
        elif self.chosen_by == "teacher":
            entries = f"the shared ones among the teacher's {self.top_k} most likely entries there"
        else:
            entries = f"the student's {self.top_k} most likely shared entries there"
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
            return LossSum(self._of_teachers_choice(pair, student, top), {})
        teacher = batch.teacher.dense.at(rows)
        if self.top_k:
            return LossSum(*tiled_rows(self._of_students_choice, pair, student, teacher, self.temperature))
        return LossSum(*shared_divergence(pair, student, teacher, self.distance, self.temperature))

    def _of_students_choice(self, ours: SharedHead, theirs: SharedHead) -> RowLoss:
        def row_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
            student, teacher = ours.candidates(student_logits), theirs.candidates(teacher_logits)
            chosen = student.detach().topk(min(self.top_k, student.shape[1])).indices
            return self.distance(*(normalised(side.gather(1, chosen)) for side in (student, teacher)))

        return row_loss

    def _of_teachers_choice(self, pair: VocabPair, student: HiddenStates, top: TopLogprobs) -> Tensor:
        shared = pair.shared(top.ids.device)
        columns, teacher = _merged_columns(shared.teacher, top.ids, top.logprobs / self.temperature)
        ids, present = _table(shared.student)
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
    own, present = _table(groups)
    column_of = own.new_full((1 + max(int(own.max()), int(ids.max()) if ids.numel() else 0),), len(own))
    column_of[own[present]] = torch.arange(len(own), device=own.device)[:, None].expand_as(own)[present]
    columns, order = column_of[ids].sort(-1)  # tokens that the student lacks are last
    place = torch.zeros_like(columns)
    place[:, 1:] = (columns.diff() != 0).cumsum(-1)
    probs = logprobs.gather(1, order).exp().masked_fill(columns == len(own), 0)
    merged = torch.zeros_like(probs).scatter_add(1, place, probs).log()
    return torch.zeros_like(columns).scatter(1, place, columns).masked_fill(merged.isneginf(), 0), merged


def _table(groups: Groups) -> tuple[Tensor, Tensor]:
    """The ids of each candidate, int64 [K, W], and which entries hold one, bool [K, W]."""
    width = max(1, groups.ids.shape[1])
    ids = groups.first[:, None].expand(-1, width).clone()
    present = torch.zeros_like(ids, dtype=torch.bool)
    present[:, 0] = True
    ids[groups.several, : groups.ids.shape[1]] = groups.ids
    present[groups.several, : groups.ids.shape[1]] = groups.mask
    return ids, present
