"""dpca's loss with the expectation over the next token in place of the sample, wherever the teacher's is known. Ours.

    L = - sum_i [ sum_v e_i(v) A_i(v) p_i(v)  +  (1 - e_i(s_i)) m_i ],      A_i(v) = log q_i(v) - log p_i(v)

A_i(v) is held constant and |A_i(v)| <= max_advantage. q_i is the teacher's distribution carried over to student tokens
as in bpm, and m_i the clipped term of the sampled token with dpca's credit. e_i(v), from 0 to 1, says how well q_i(v)
is known:

    e_i(v) = q_i(v) / (q_i(v) + c_i(v))

c_i(v) is the teacher's probability of tokens that v goes beyond (module `continued`): after one of these it may write
the rest of v. e_i(v) is 0 without a target, for a token that the teacher would have joined to its token before (module
`joins`), and in chunks whose text the teacher's normaliser rewrote.

With e = 1 this is bpm with reverse KL, with e = 0 it is dpca. Both estimate the gradient of one reverse KL: the
expectation has less noise than the sample, and the sample has no bias where the expectation has one. At student ==
teacher L and its gradient are 0. Signal: DENSE. No tokens: 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill import credit as credits
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.bytewise.byte_prefixes import merge_columns, prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.comparison import tempered
from crossdistill.objectives.shared.bytewise.continued import FirstContinued, InnerContinued
from crossdistill.objectives.shared.bytewise.joins import JoinedTokens, joins_of, keys_of
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets, Targets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.divergence import check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.policy_loss import clipped_terms
from crossdistill.ops import Share, tiled_sum, token_logprobs
from crossdistill.ops.tiled import TiledSum
from crossdistill.signal import Signal

Continued = Callable[[Tensor, Tensor], Tensor]
"""The c of the module's equation: (teacher's logits [R, V_T], numbers of the positions, int64 [R]) -> [R, V_S]."""
_WIDTHS = 4  # memory of a row, in rows of both models' logits: targets, sums and masks are as wide


@dataclass(frozen=True)
class Expected(Objective):
    """The clipped policy loss, with expectations over the next token where the teacher's probabilities are known.

    Attributes:
        max_advantage: bound of each advantage, in nats.

    Example:
        >>> Expected().signal.value
        'dense'
    """

    name: ClassVar[str] = "expected"
    on_policy_only: ClassVar[bool] = True
    at_sampling_temperature: ClassVar[bool] = True

    max_advantage: float = 10.0

    def __post_init__(self) -> None:
        check_positive(max_advantage=self.max_advantage)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return (
            f"learns from every chunk that both sides spell, {100 * measure.coverage:.1f} % of the bytes: from all "
            "tokens whose probability the teacher's distribution tells, and elsewhere from the one that was sampled"
        )

    def advantages(self, batch: AlignedBatch) -> Tensor:
        """dpca's credit of the sampled tokens, not yet bounded: nats, [N_S]."""
        return credits.batch_credit(batch)

    def bounded(self, advantages: Tensor) -> Tensor:
        """At most `max_advantage` on both sides."""
        return advantages.clamp(-self.max_advantage, self.max_advantage)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over student tokens.

        Stats: ``sampled``, the weight 1 - e of the sampled terms, and the sampled tokens' ``abs_advantage``.
        """
        batch = inputs.batch
        offsets = TokenOffsets.of(batch)
        is_verbatim = offsets.is_verbatim[offsets.chunks]
        first = offsets.first[is_verbatim[offsets.first]]
        parts = [
            self._first(inputs, offsets, first),
            self._inner(inputs, offsets, offsets.inner),
            self._sampled(inputs, np.flatnonzero(~is_verbatim)),
        ]
        sampled = torch.stack([part.stats["sampled"] for part in parts if part.stats]).sum()
        total = torch.stack([part.total for part in parts]).sum()
        return LossSum(total, {"abs_advantage": inputs.advantages.abs().sum(), "sampled": sampled})

    def _first(self, inputs: LossInputs, offsets: TokenOffsets, tokens: np.ndarray) -> TiledSum:
        """Of student tokens that begin where a teacher token begins."""
        pair, device = inputs.batch.pair, inputs.batch.device
        targets = FirstTargets(prefixes_of(pair), device)
        return self._known(inputs, offsets, tokens, targets, FirstContinued(pair, device))

    def _inner(self, inputs: LossInputs, offsets: TokenOffsets, tokens: np.ndarray) -> TiledSum:
        """Of those that begin inside one."""
        pair, device = inputs.batch.pair, inputs.batch.device
        prefixes = offsets.prefixes(tokens)
        targets = InnerTargets(prefixes_of(pair), prefixes, device)
        return self._known(inputs, offsets, tokens, targets, InnerContinued(pair, prefixes, targets, device))

    def _known(
        self, inputs: LossInputs, offsets: TokenOffsets, tokens: np.ndarray, targets: Targets, continued: Continued
    ) -> TiledSum:
        """The sum over some tokens, expectation and sample."""
        batch, (hidden, head), teacher = inputs.batch, inputs.student, inputs.batch.teacher.dense
        device, tables = batch.device, prefixes_of(batch.pair)
        joined = JoinedTokens(joins_of(batch.pair), keys_of(batch, offsets, tokens), device)
        groups, numbers = tables.groups.to(device), to_tensor(tokens, device)
        ids, rows = batch.student.ids[numbers], to_tensor(offsets.rows[tokens], teacher.hidden.device)
        columns = to_tensor(tables.own, device)[ids]

        def share(
            student_logits: Tensor,
            teacher_logits: Tensor,
            ids: Tensor,
            columns: Tensor,
            old: Tensor,
            advantages: Tensor,
            here: Tensor,
        ) -> Share:
            log_all = torch.log_softmax(tempered(student_logits, inputs.temperature), -1)
            log_p = merge_columns(log_all, groups)
            with torch.no_grad():
                teacher_logits = tempered(teacher_logits, inputs.temperature)
                target = targets(teacher_logits, here)[0][:, :-1]
                known = (target / (target + continued(teacher_logits, here))).nan_to_num_(0.0)
                known.masked_fill_(joined(here), 0.0)
                ratio = target.log_().sub_(log_p).clamp_(-self.max_advantage, self.max_advantage)
                weight = torch.where(known > 0, known * ratio, 0.0)
                is_sampled = 1 - known.gather(1, columns[:, None])[:, 0]
            own = log_all.gather(1, ids[:, None])[:, 0]
            term = clipped_terms(own, old, advantages).term
            return Share(-(weight * log_p.exp()).sum(-1) - is_sampled * term, {"sampled": is_sampled})

        return tiled_sum(
            share,
            hidden[numbers],
            head,
            teacher.hidden[rows],
            teacher.head,
            rows=(ids, columns, batch.student.old_logprobs[numbers], inputs.advantages[numbers]),
            tile_elements=targets.tile_elements(head.vocab_size + teacher.head.vocab_size) // _WIDTHS,
        )

    def _sampled(self, inputs: LossInputs, tokens: np.ndarray) -> TiledSum:
        """The sum over some tokens, the sample alone."""
        student, batch = inputs.student, inputs.batch
        numbers = to_tensor(tokens, batch.device)
        logprobs = token_logprobs(
            student.hidden[numbers], student.head, batch.student.ids[numbers], inputs.temperature
        ).logprobs
        term = clipped_terms(logprobs, batch.student.old_logprobs[numbers], inputs.advantages[numbers]).term
        return TiledSum(-term.sum(), {"sampled": term.new_tensor(len(tokens))})
