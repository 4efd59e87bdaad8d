"""On-policy distillation by chunk alignment (Breaking the Tokenizer Barrier, section 4).

    L = - sum_i  m_i,   m_i = min( r_i A_i, clip(r_i, 1 - clip_low, 1 + clip_high) A_i )
    and, if A_i < 0, m_i = max( m_i, dual_clip A_i )
    r_i = exp( log pi_theta(s_i) - log pi_old(s_i) ),   A_i held constant, |A_i| <= max_advantage

A_i is the share of student token i in its chunk's log-ratio L_T - L_S (crossdistill.credit), or, with credit
"marginal", the teacher's own score of token i minus log p_i (module `marginal`), which also adds up to L_T - L_S. At
student == teacher every A_i, and so the loss and its gradient, is 0. Signal: SAMPLED; with credit "marginal" DENSE or
TOPK. No tokens: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from crossdistill import credit as credits
from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.policy_loss import clipped_terms
from crossdistill.ops import token_logprobs
from crossdistill.signal import Signal


@dataclass(frozen=True)
class DPCA(Objective):
    """The clipped policy loss on chunk-aligned advantages; the defaults are the paper's.

    Attributes:
        credit: how a chunk's log-ratio is shared among its student tokens: one of ``crossdistill.credit.METHODS`` or
            the import path of your own. "marginal" needs the teacher's whole distribution (DENSE), or its most probable
            tokens if `top_k` > 0; the others need its sampled log-probabilities.
        clip_low: the ratio is clipped to [1 - clip_low, 1 + clip_high].
        clip_high: see `clip_low`.
        dual_clip: bounds the loss of one token with a negative advantage A at ``-dual_clip * A``.
        max_advantage: bound of |A|, in nats.
        top_k: only for a credit that reads the teacher's distribution: use its `top_k` most probable tokens, which
            gives a lower bound. 0 for all tokens.

    Example:
        >>> DPCA().signal.value, DPCA(credit="marginal").signal.value, DPCA(credit="marginal", top_k=64).signal.value
        ('sampled', 'dense', 'topk')
    """

    name: ClassVar[str] = "dpca"
    on_policy_only: ClassVar[bool] = True
    mixes_teachers: ClassVar[bool] = True
    takes_rewards: ClassVar[bool] = True
    at_sampling_temperature: ClassVar[bool] = True

    credit: str = "semantic_prior"
    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 10.0
    max_advantage: float = 10.0
    top_k: int = 0

    def __post_init__(self) -> None:
        reads_distribution = self._reads_distribution  # refuses an unknown credit
        if self.top_k < 0 or (self.top_k and not reads_distribution):
            raise InputError(
                "top_k, for a credit that reads the teacher's distribution (marginal), is at least 0 (0: use all "
                f"tokens), not {self.top_k}."
            )
        if not (0 <= self.clip_low <= 1 and self.clip_high >= 0):
            raise InputError(
                f"clip_low must lie in [0, 1] and clip_high be >= 0, not {self.clip_low}, {self.clip_high}."
            )
        if not (self.dual_clip > 1 and self.max_advantage > 0):
            raise InputError(
                f"dual_clip must be > 1 and max_advantage > 0, not {self.dual_clip}, {self.max_advantage}."
            )

    @property
    def _reads_distribution(self) -> bool:
        return credits.find(self.credit).reads_distribution

    @property
    def signal(self) -> Signal:
        if not self._reads_distribution:
            return Signal.SAMPLED
        return Signal.TOPK if self.top_k else Signal.DENSE

    @property
    def loss_signal(self) -> Signal:
        return Signal.SAMPLED

    def describe(self, measure: PairMeasure) -> str:
        return (
            f"learns from every chunk that both sides spell, {100 * measure.coverage:.1f} % of the bytes; "
            f"{100 * measure.shared_credit_share:.1f} % of the student's tokens share their chunk's signal with others"
        )

    def advantages(self, batch: AlignedBatch) -> Tensor:
        """The A_i of the module's equation, not yet bounded: nats, [N_S]."""
        return credits.batch_credit(batch, self.credit)

    def bounded(self, advantages: Tensor) -> Tensor:
        """|A_i| <= max_advantage."""
        return advantages.clamp(-self.max_advantage, self.max_advantage)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over tokens. At a stop unit the ratio is that of the sampled stop token."""
        student, ids = inputs.student, inputs.batch.student.ids
        policy = token_logprobs(student.hidden, student.head, ids, inputs.temperature)
        old = inputs.batch.student.old_logprobs
        return self.clipped(policy.logprobs, old, inputs.advantages)._replace(entropy=policy.entropy.sum())

    def clipped(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> LossSum:
        """The module's L of N tokens.

        Args:
            logprobs: nats, [N], under the policy that is trained; carries the gradient.
            old_logprobs: nats, [N], under the policy that sampled.
            advantages: nats, [N], constant.
        """
        clips = self.clip_low, self.clip_high, self.dual_clip
        term, ratio, is_clipped = clipped_terms(logprobs, old_logprobs, advantages, *clips)
        stats = {"ratio": ratio.detach().sum(), "clipped": is_clipped.sum(), "abs_advantage": advantages.abs().sum()}
        return LossSum(-term.sum(), stats)
