"""Universal logit distillation (ULD, Boizard et al. 2402.12030, section 3).

    L = sum_c D( softmax(z_S(c) / tau), softmax(z_T(c) / tau) ),   D the L1 distance of the sorted probabilities

z_S(c), z_T(c) are the two models' logits at the start of chunk c, where both have read the same bytes, and tau is the
option `temperature`. D is the paper's Wasserstein distance for the cost that it takes. It does not know which token is
which, so the vocabularies need not share any. At student == teacher the loss is 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.divergence import check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.rank_distance import rank_distance
from crossdistill.ops import Share, tiled_sum
from crossdistill.signal import Signal


@dataclass(frozen=True)
class ULD(Objective):
    """The distance of the two models' sorted probabilities: the shapes of the distributions, not their tokens.

    Attributes:
        temperature: divides both models' logits.

    Example:
        >>> ULD(temperature=2.0).signal.value
        'dense'
    """

    name: ClassVar[str] = "uld"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return (
            f"compares sorted probabilities at {measure.num_chunks:,} chunks: no entry need be shared, none is "
            "recognised"
        )

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks."""
        student, teacher = inputs.at_chunk_starts()
        total, stats = tiled_sum(self._distances, *student, *teacher)
        return LossSum(total, stats)

    def _distances(self, student: Tensor, teacher: Tensor, _numbers: Tensor) -> Share:
        probs = (torch.softmax(logits / self.temperature, -1) for logits in (student, teacher))
        return Share(rank_distance(*probs))
