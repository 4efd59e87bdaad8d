"""Shared-vocabulary on-policy distillation, the simplest baseline of SimCT (2605.07711).

    L = sum_c  D( p_S(. | prefix of chunk c), p_T(. | prefix of chunk c) )

with both distributions at the first position of chunk c, restricted to the candidates that both vocabularies have
(module `vocab_pair`) and renormalised; D is KL(S || T) by default. Every chunk has a term, even if its tokens differ:
at its first position both models have read the same bytes. Its later positions are left out. At student == teacher the
loss and its gradient are 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

from crossdistill.objectives.base import LossSum
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.shared_entries.candidates import SharedCandidates, shared_divergence


@dataclass(frozen=True)
class SharedVocab(SharedCandidates):
    """The divergence over the shared candidates at the first position of every chunk.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        temperature: divides the logits of both sides.

    Example:
        >>> SharedVocab(divergence="jsd", mix=0.3).signal.value
        'dense'
    """

    name: ClassVar[str] = "shared_vocab"

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks."""
        student, teacher = inputs.at_chunk_starts()
        return LossSum(*shared_divergence(inputs.batch.pair, student, teacher, self.distance, self.temperature))
