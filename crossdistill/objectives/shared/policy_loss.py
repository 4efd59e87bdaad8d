"""The clipped importance-sampling objective (PPO's surrogate with a dual clip).

m_i = min( r_i A_i, clip(r_i, 1 - clip_low, 1 + clip_high) A_i ),   r_i = exp( log pi_theta(s_i) - log pi_old(s_i) )
and, if A_i < 0, m_i = max( m_i, dual_clip A_i );   L = - sum_i m_i
"""

from typing import NamedTuple

import torch
from torch import Tensor

_MAX_LOG_RATIO = 20.0  # beyond e^20 every ratio is bounded anyway, and exp would overflow into NaN gradients


class ClippedTerms(NamedTuple):
    """Shapes are those of the arguments of :func:`clipped_terms`.

    Attributes:
        term: m_i, differentiable.
        ratio: r_i, differentiable.
        is_clipped: 1.0 if a clip took effect, else 0.0.
    """

    term: Tensor
    ratio: Tensor
    is_clipped: Tensor


def clipped_terms(
    new_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float = 10.0,
) -> ClippedTerms:
    """The terms m_i of the module's sum; arguments in nats and of one shape, only `new_logprobs` carries gradient."""
    ratio = torch.exp((new_logprobs - old_logprobs).clamp(max=_MAX_LOG_RATIO))
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    term = torch.minimum(ratio * advantages, clipped * advantages)
    term = torch.where(advantages < 0, torch.maximum(term, dual_clip * advantages), term)
    return ClippedTerms(term, ratio, (term != ratio * advantages).float())


def clipped_policy_loss(
    new_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float = 10.0,
) -> Tensor:
    """The clipped policy loss of a batch, as a sum: divide it by the number of items of the global batch.

    Column c of a row belongs to response token c, not to the state that predicts it. The default clips are those of
    *Breaking the Tokenizer Barrier* (appendix A).

    Args:
        new_logprobs: nats, [B, C], of the sampled tokens under the policy that is trained; carries the gradient.
        old_logprobs: nats, [B, C], under the policy that sampled.
        advantages: nats, [B, C], constant.
        loss_mask: bool [B, C], the supervised tokens; the others may hold anything.
        clip_low: the ratio is clipped to [1 - clip_low, 1 + clip_high].
        clip_high: likewise.
        dual_clip: bounds the loss of a token with a negative advantage A at ``-dual_clip * A``.

    Returns:
        Scalar; exactly 0 with zero gradient if nothing is supervised. At new == old its gradient is that of
        ``-(advantages * new_logprobs)[loss_mask].sum()``.

    Example:
        >>> import torch
        >>> new = torch.tensor([[-1.0, -2.0]], requires_grad=True)
        >>> mask = torch.tensor([[True, False]])
        >>> loss = clipped_policy_loss(new, new.detach(), torch.tensor([[0.5, 9.0]]), mask)
        >>> loss.item(), torch.autograd.grad(loss, new)[0].tolist()
        (-0.5, [[-0.5, 0.0]])
    """
    new, old, chosen = new_logprobs[loss_mask], old_logprobs[loss_mask], advantages[loss_mask]
    return -clipped_terms(new, old, chosen, clip_low, clip_high, dual_clip).term.sum()
