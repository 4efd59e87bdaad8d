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

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.bytewise.byte_prefixes import duplicates, merge_columns, prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.realised_path import Moves, moves_along
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets, Targets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.divergence import Divergence, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import Share, tiled_sum
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
        tables = prefixes_of(pair)
        if (tables.columns(b"") == tables.residual).all():
            raise InputError(
                "objective 'bpm' gives a teacher token's probability to the student token that it begins with, and no "
                'teacher token begins with one: choose an objective that needs none, such as "dpca" or "alm".'
            )

    def weight(self, batch: AlignedBatch) -> float:
        """The number of student tokens in the sum."""
        return float(sum(map(len, self._tokens(batch, TokenOffsets.of(batch)))))

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over student tokens.

        Stats: the target's residual, and the probability that moved on to longer student tokens.
        """
        batch, (hidden, head) = inputs.batch, inputs.student
        token_offsets, tables = TokenOffsets.of(batch), prefixes_of(batch.pair)
        moves = moves_along(batch, token_offsets, tables, self.temperature)
        groups, device = tables.groups.to(batch.device), batch.device
        first, inner = self._tokens(batch, token_offsets)
        teacher, sums = batch.teacher.dense, []
        for tokens, targets in (
            (first, FirstTargets(tables, device)),
            (inner, InnerTargets(tables, token_offsets.prefixes(inner), device)),
        ):
            rows = to_tensor(token_offsets.rows[tokens], teacher.hidden.device)
            sums.append(
                tiled_sum(
                    self._function(targets, moves.of(to_tensor(tokens, device)), groups, tables.residual),
                    hidden[to_tensor(tokens, device)],
                    head,
                    teacher.hidden[rows],
                    teacher.head,
                    tile_elements=targets.tile_elements(head.vocab_size + teacher.head.vocab_size),
                )
            )
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

    def _tempered(self, logits: Tensor) -> Tensor:
        return logits if self.temperature == 1 else logits / self.temperature

    def _function(self, targets: Targets, moves: Moves, groups: Groups, num_tokens: int) -> Callable[..., Share]:
        divergence, is_duplicate = Divergence(self.divergence, self.mix), duplicates(groups, num_tokens)

        def share(student_logits: Tensor, teacher_logits: Tensor, numbers: Tensor) -> Share:
            with torch.no_grad():
                target, own, moved = moves.applied(*targets(self._tempered(teacher_logits), numbers), numbers)
                stats = {"residual": target[:, -1].clone(), "moved": moved}
                target.log_()
                own = own[:, :-1]
            log_probs = merge_columns(torch.log_softmax(self._tempered(student_logits), -1), groups)
            others = log_probs.masked_fill(own | is_duplicate, -torch.inf).logsumexp(-1, keepdim=True)
            named = divergence(log_probs.masked_fill(~own, -torch.inf), target[:, :-1])
            return Share(named + divergence(others, target[:, -1:]), stats)

        return share
