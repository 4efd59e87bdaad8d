"""Ideas of ours that the arena tries, for vocabularies as small as its own: whole matrices of logits are held.

What wins becomes an objective of the package; what does not is in docs/LOG.md.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives import AlignedBatch, LossInputs, LossSum, Objective, Signal
from crossdistill.objectives.base import PairMeasure
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets


@dataclass(frozen=True)
class ByShare(Objective):
    """bpm's reverse KL and dpca's loss, mixed by the batch's share w of student tokens in 1:1 chunks.

    L = w L_bpm + (1 - w) L_dpca. Both are gradients of one reverse KL, so their scales are alike.
    """

    name: ClassVar[str] = "by_share"
    on_policy_only: ClassVar[bool] = True
    at_sampling_temperature: ClassVar[bool] = True

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return f"mixes bpm and dpca by the {100 * measure.one_to_one_share:.1f} % of 1:1 tokens"

    def advantages(self, batch: AlignedBatch) -> Tensor:
        return DPCA().bounded(DPCA().advantages(batch))

    def loss(self, inputs: LossInputs) -> LossSum:
        alignment = inputs.batch.alignment
        share = float(alignment.is_one_to_one.sum()) / max(1, len(inputs.batch.student.ids))
        dense, sampled = BPM(divergence="reverse").loss(inputs), DPCA().loss(inputs)
        return LossSum(share * dense.total + (1 - share) * sampled.total, sampled.stats, sampled.entropy)


@dataclass(frozen=True)
class Confident(DPCA):
    """dpca whose advantages are weighted by how sure the teacher is where the token begins.

    The weight is 1 - H(q) / log V_T, divided by its mean over the batch.
    """

    name: ClassVar[str] = "confident"

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    @property
    def loss_signal(self) -> Signal:
        return Signal.SAMPLED

    def advantages(self, batch: AlignedBatch) -> Tensor:
        teacher, rows = batch.teacher.dense, TokenOffsets.of(batch).rows
        log_q = torch.log_softmax(teacher.head.logits(teacher.hidden[torch.from_numpy(rows)]), -1)
        entropy = -(log_q.exp() * log_q).nan_to_num(0.0).sum(-1)
        sure = 1 - entropy / np.log(log_q.shape[1])
        credit: Tensor = super().advantages(batch)
        return credit * (sure / sure.mean()).to(credit)
