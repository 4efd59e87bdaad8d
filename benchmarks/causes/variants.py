"""Objectives between two methods, which tell the places that a method supervises from the target that it has there."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.divergence import Divergence
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import Share, tiled_sum
from crossdistill.signal import Signal


@dataclass(frozen=True)
class BPMAt(BPM):
    """bpm's target at the places of another method alone.

    Attributes:
        places: "one_to_one", those of strict, or "starts", those of shared_vocab.
    """

    name: ClassVar[str] = "bpm_at"
    divergence: str = "reverse"
    places: str = "one_to_one"

    def _tokens(self, batch: AlignedBatch, token_offsets: TokenOffsets) -> tuple[np.ndarray, np.ndarray]:
        kept = np.zeros(int(batch.alignment.student_splits[-1]), dtype=bool)
        starts = batch.alignment.student_splits[:-1]
        kept[starts[batch.alignment.is_one_to_one] if self.places == "one_to_one" else starts] = True
        first, inner = super()._tokens(batch, token_offsets)
        return first[kept[first]], inner[kept[inner]]


@dataclass(frozen=True)
class SharedWithRest(Objective):
    """shared_vocab (or strict) with one more candidate: all the probability off the shared entries, on each side.

    Attributes:
        one_to_one: whether only 1:1 chunks count, as in strict.
        divergence: as in strict.
        rest: whether there is that candidate; without it and with the other defaults this is shared_vocab.
        least_mass: a chunk counts if the teacher has this much probability on the shared entries.
    """

    name: ClassVar[str] = "shared_with_rest"
    one_to_one: bool = False
    divergence: str = "reverse"
    rest: bool = True
    least_mass: float = 0.0

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def weight(self, batch: AlignedBatch) -> float:
        return float(self._chunks(batch).sum())

    def loss(self, inputs: LossInputs) -> LossSum:
        batch, (student, teacher) = inputs.batch, inputs.at_chunk_starts()
        rows = torch.as_tensor(np.flatnonzero(self._chunks(batch)))
        columns, divergence = batch.pair.shared(batch.device), Divergence(self.divergence)

        def share(ours: Tensor, theirs: Tensor, _numbers: Tensor) -> Share:
            sides = [columns.student.select(ours.log_softmax(-1)), columns.teacher.select(theirs.log_softmax(-1))]
            counts = sides[1].exp().sum(-1) >= self.least_mass
            if self.rest:
                sides = [torch.cat([side, _rest(side)], -1) for side in sides]
            return Share(divergence(*(side.log_softmax(-1) for side in sides)) * counts)

        return LossSum(*tiled_sum(share, *student.at(rows), *teacher.at(rows)))

    def _chunks(self, batch: AlignedBatch) -> np.ndarray:
        ones = batch.alignment.is_one_to_one
        return ones if self.one_to_one else np.ones_like(ones)


def _rest(log_probs: Tensor) -> Tensor:
    """log of what is left, [R, 1]."""
    return torch.log1p(-log_probs.exp().sum(-1, keepdim=True).clamp(max=1 - 1e-7))
