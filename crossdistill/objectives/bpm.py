"""Byte-prefix marginalisation (Wang et al., arXiv 2607.22334).

    L = sum over student tokens i of D( p_i, target_i )

At student token i, which begins l bytes inside teacher token j, the teacher's distribution at j, conditioned on these
l bytes, becomes one over student tokens. The probability of teacher token t goes to the longest student token with
which the remaining bytes of t begin; that of the stop tokens to the student's stop (one column for all); that of tokens
which no student token fits, or which have no remaining bytes, to an explicit residual. If the text continues with a
student token that is longer than the rest of the realised t_j, the path of the realised teacher tokens gives how much
of t_j's share moves on to it: q(t_j | l bytes) q(t_j+1) ... M_k, a lower bound (module `realised_path`). All of the
probability mass is kept.

The student's side has the same columns: its tokens without a column together face the residual. The target is exact if
no student token spans several teacher tokens. At student == teacher (one vocabulary) L is 0. Signal: DENSE. No tokens:
0. Inside a teacher token that its normaliser rewrote nothing is known: such student tokens are left out of the sum and
of its weight.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of
from crossdistill.objectives.shared.bytewise.comparison import check_beginnings, target_divergence
from crossdistill.objectives.shared.bytewise.realised_path import moves_along
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.divergence import Divergence, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.signal import Signal


@dataclass(frozen=True)
class BPM(Objective):
    """A dense divergence to the teacher's distribution, carried over to student tokens by byte prefixes.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`; the symmetric JSD as in the paper's
            runs.
        mix: the share of a distribution in its mixture.
        temperature: divides the logits of both sides.
        skip_white_space: whether to leave out student tokens that are only spaces and tabs, as the paper's runs do.

    Example:
        >>> BPM(divergence="forward").signal.value
        'dense'
    """

    name: ClassVar[str] = "bpm"

    divergence: str = "jsd"
    mix: float = 0.5
    temperature: float = 1.0
    skip_white_space: bool = False

    def __post_init__(self) -> None:
        Divergence(self.divergence, self.mix)
        check_positive(temperature=self.temperature)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return f"compares all of the teacher's mass at every student token, {100 * measure.coverage:.1f} % of the bytes"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if no teacher token begins with a student token."""
        check_beginnings(pair, self.name)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of student tokens in the sum."""
        return float(sum(map(len, self._tokens(batch, TokenOffsets.of(batch)))))

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over student tokens.

        Stats: the target's residual, and the probability that moved on to longer student tokens.
        """
        batch = inputs.batch
        token_offsets, tables = TokenOffsets.of(batch), prefixes_of(batch.pair)
        moves = moves_along(batch, token_offsets, tables, self.temperature)
        first, inner = self._tokens(batch, token_offsets)
        divergence = Divergence(self.divergence, self.mix)
        sums = [
            target_divergence(inputs, token_offsets, tokens, targets, moves, divergence, self.temperature)
            for tokens, targets in (
                (first, FirstTargets(tables, batch.device)),
                (inner, InnerTargets(tables, token_offsets.prefixes(inner), batch.device)),
            )
        ]
        names = {name for part in sums for name in part.stats}
        stats = {name: torch.stack([part.stats[name] for part in sums if part.stats]).sum() for name in names}
        return LossSum(sums[0].total + sums[1].total, stats)

    def _tokens(self, batch: AlignedBatch, token_offsets: TokenOffsets) -> tuple[np.ndarray, np.ndarray]:
        """The student tokens in the sum: those that begin where a teacher token begins, and those inside one."""
        if not self.skip_white_space:
            return token_offsets.first, token_offsets.inner
        pieces = batch.pair.student.pieces
        read = [pieces[token_id] for token_id in batch.student.ids.tolist()]
        kept = np.array([not piece or bool(piece.strip(b" \t")) for piece in read], dtype=bool)
        return token_offsets.first[kept[token_offsets.first]], token_offsets.inner[kept[token_offsets.inner]]
