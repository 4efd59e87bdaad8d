"""SimCT: shared tokens and units of several tokens as candidates (2605.07711, section 3.3, Eqs. 6-9).

    U_c  = the candidates that both vocabularies have, and the realised unit u_c if chunk c is not 1:1
    s_M(v) = log p_M(v | prefix)  of a token,  s_M(u_c) = mean_j log p_M(u_j | prefix, u_<j)  of the unit in M's tokens
    q_M(v) = exp s_M(v) / sum_{v' in U_c} exp s_M(v')
    L = sum_c  D( q_S, q_T )

for M the student S and the teacher T, at the first position of every minimal chunk c; D is KL(S || T) by default. The
score of a unit is a mean, so that U_c is a set of candidates and not a partition of all text: q is not the probability
of the unit. At student == teacher the loss and its gradient are 0. Signal: DENSE. No chunks: 0.

Ablations: without units it is `shared_vocab`; at 1:1 chunks alone it is `strict`; with `coarsen` it has fewer and
longer units.
"""

from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, PairMeasure
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.shared_entries.candidates import SharedCandidates, UnitLogits, shared_divergence
from crossdistill.objectives.shared.shared_entries.units import unit_logits


@dataclass(frozen=True)
class SimCT(SharedCandidates):
    """The divergence over the shared candidates and the realised unit, at the first position of every chunk.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        temperature: divides the logits of both sides, for units too.
        unit: whether a chunk that is not 1:1 is a candidate.
        one_to_one: whether only 1:1 chunks have a term.
        coarsen: probability that a chunk is merged with the next one of its response; a stop unit is never merged.
        seed: seed of these draws, which depend only on it and on the sampled tokens of a response.

    Example:
        >>> SimCT(unit=False).signal.value
        'dense'
    """

    name: ClassVar[str] = "simct"

    unit: bool = True
    one_to_one: bool = False
    coarsen: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.coarsen <= 1:
            raise InputError(
                f"coarsen, the probability that two chunks are merged, lies in [0, 1], not {self.coarsen}."
            )
        if self.seed < 0:
            raise InputError(f"seed must be >= 0, not {self.seed}.")

    def describe(self, measure: PairMeasure) -> str:
        if self.one_to_one:
            return f"compares the shared entries, at {measure.num_one_to_one:,} 1:1 chunks"
        several = measure.num_chunks - measure.num_one_to_one
        units = f"; {several:,} of these, not 1:1, are candidates of their own" if self.unit else ""
        return super().describe(measure) + units

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks that have a term; merged ones count once."""
        return float(len(self._chunks(batch)[0]))

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks. Stats: how many of them have a unit."""
        batch = inputs.batch
        sides = self._chunks(batch)
        ours, theirs = (torch.as_tensor(spans, device=batch.device) for spans in sides)
        several = ((ours.diff() > 1) | (theirs.diff() > 1))[:, 0] & self.unit
        units = None
        if several.any():
            units = self._units(inputs, several, ours[several], theirs[several])
        student = inputs.student.at(ours[:, 0])
        teacher = batch.teacher.dense.at(theirs[:, 0])
        total = shared_divergence(batch.pair, student, teacher, self.distance, self.temperature, units).total
        return LossSum(total, {"units": several.sum()})

    def _chunks(self, batch: AlignedBatch) -> tuple[np.ndarray, np.ndarray]:
        """The (first, after the last) token of each chunk that has a term: int64 [C, 2] of each side."""
        kept = self._kept_splits(batch)
        sides = (batch.alignment.student_splits[kept], batch.alignment.teacher_splits[kept])
        student, teacher = (np.stack([splits[:-1], splits[1:]], -1) for splits in sides)
        if self.one_to_one:
            is_one_to_one = ((np.diff(student) == 1) & (np.diff(teacher) == 1))[:, 0]
            student, teacher = student[is_one_to_one], teacher[is_one_to_one]
        return student, teacher

    def _kept_splits(self, batch: AlignedBatch) -> np.ndarray:
        """Which splits between minimal chunks remain after merging: bool [chunks + 1]."""
        kept = np.ones(batch.alignment.num_chunks + 1, dtype=bool)
        if not self.coarsen:
            return kept
        ids = batch.student.ids.cpu().numpy()
        splits = batch.alignment.student_splits
        for first, end in zip(batch.response_splits[:-1], batch.response_splits[1:], strict=True):
            response = ids[splits[first] : splits[end]].astype(np.int64)
            draws = np.random.default_rng([self.seed, crc32(response.tobytes())]).random(max(end - first - 1, 0))
            kept[first + 1 : end] = draws >= self.coarsen
        kept[:-1] |= batch.is_stop
        return kept

    def _units(self, inputs: LossInputs, several: Tensor, student: Tensor, teacher: Tensor) -> UnitLogits:
        """The units at C chunks: those that are `several` (bool [C]), with their spans on each side."""
        batch = inputs.batch
        ours = unit_logits(inputs.student, batch.student.ids, student, self.temperature)
        with torch.no_grad():
            theirs = unit_logits(batch.teacher.dense, batch.teacher.ids, teacher, self.temperature)
        rows = several.nonzero()[:, 0]
        none = ours.new_full((len(several),), -torch.inf)
        return UnitLogits(none.index_copy(0, rows, ours), none.index_copy(0, rows, theirs.to(ours.dtype)))
