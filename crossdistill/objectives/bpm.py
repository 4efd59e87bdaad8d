"""Byte-prefix marginalisation (Wang et al., arXiv 2607.22334).

    L = sum over student tokens i of D( p_i, target_i )

At student token i, which begins l bytes inside teacher token j, the teacher's distribution at j, conditioned on these
l bytes, becomes one over student tokens: the probability of teacher token t goes to the longest student token that what
is left of t begins with; that of the stop tokens to the student's stop (one column for all); that of tokens which no
student token fits, or of which nothing is left, to an explicit residual. Where the text goes on with a student token
that is longer than what is left of the realised t_j, the path of the realised teacher tokens says how much of t_j's
share moves on to it: q(t_j | l bytes) q(t_j+1) ... M_k, a lower bound (module `paths`). All of the mass is kept.

The student's side has the same columns: what its tokens without a column have together faces the residual. The target
is exact where no student token spans several teacher tokens. At student == teacher (one vocabulary) L is 0. The signal
is DENSE; the sum over no tokens is 0. Inside a teacher token that its normaliser rewrote nothing is known: such tokens
are left out of the sum and of its weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.shared.bytewise.byte_prefixes import doubles, merged, on, prefixes_of
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
    """A dense divergence to the teacher's distribution by byte prefixes.

    divergence, mix: see :mod:`crossdistill.objectives.shared.divergence`; symmetric JSD as in the paper's runs.
    temperature: divides the logits of both sides.
    skip_white_space: leave out student tokens of spaces and tabs alone, as the paper's runs do.
    """

    name: ClassVar[str] = "bpm"
    signal: ClassVar[Signal] = Signal.DENSE

    divergence: str = "jsd"
    mix: float = 0.5
    temperature: float = 1.0
    skip_white_space: bool = False

    def __post_init__(self) -> None:
        Divergence(self.divergence, self.mix)
        check_positive(temperature=self.temperature)

    def check(self, pair: VocabPair) -> None:
        """Raises InputError where no teacher token begins with a student token."""
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
        """Sum over student tokens. Stats: the target's residual, and how much moved on to longer student tokens."""
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
            rows = on(token_offsets.rows[tokens], teacher.hidden.device)
            sums.append(
                tiled_sum(
                    self._function(targets, moves.of(on(tokens, device)), groups, tables.residual),
                    hidden[on(tokens, device)],
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
        """The student tokens in the sum: those that begin with a teacher token, and those inside one."""
        if not self.skip_white_space:
            return token_offsets.first, token_offsets.inner
        pieces = batch.pair.student.pieces
        read = [pieces[token_id] for token_id in batch.student.ids.tolist()]
        kept = np.array([not piece or bool(piece.strip(b" \t")) for piece in read], dtype=bool)
        return token_offsets.first[kept[token_offsets.first]], token_offsets.inner[kept[token_offsets.inner]]

    def _tempered(self, logits: Tensor) -> Tensor:
        return logits if self.temperature == 1 else logits / self.temperature

    def _function(self, targets: Targets, moves: Moves, groups: Groups, num_tokens: int) -> Callable[..., Share]:
        divergence, doubled = Divergence(self.divergence, self.mix), doubles(groups, num_tokens)

        def share(student_logits: Tensor, teacher_logits: Tensor, numbers: Tensor) -> Share:
            with torch.no_grad():
                target, own, moved = moves.applied(*targets(self._tempered(teacher_logits), numbers), numbers)
                stats = {"residual": target[:, -1].clone(), "moved": moved}
                target.log_()
                own = own[:, :-1]
            log_probs = merged(torch.log_softmax(self._tempered(student_logits), -1), groups)
            others = log_probs.masked_fill(own | doubled, -torch.inf).logsumexp(-1, keepdim=True)
            named = divergence(log_probs.masked_fill(~own, -torch.inf), target[:, :-1])
            return Share(named + divergence(others, target[:, -1:]), stats)

        return share
