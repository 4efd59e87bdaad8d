"""Log-probabilities of chosen tokens, in tiles over positions.

Shapes: N positions, H hidden size, V vocabulary. Only one tile of logits exists at a time, in the forward and backward
pass, so memory does not grow with N x V.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossdistill.ops.head import LMHead, add_outer

TILE_ELEMENTS = 2**24  # logits to hold at once: 64 MiB in float32


class TopLogprobs(NamedTuple):
    """The most probable tokens at each position, in descending order.

    Attributes:
        ids: int64 [N, k].
        logprobs: nats, [N, k], constant.
    """

    ids: Tensor
    logprobs: Tensor


class TokenLogprobs(NamedTuple):
    """Log-probabilities of one token at each position, and the entropy of the distributions.

    Attributes:
        logprobs: nats, float32 [N] (float64 if the head's weight is), differentiable.
        entropy: nats, float32 [N] (float64 if the head's weight is), constant.
    """

    logprobs: Tensor
    entropy: Tensor


def token_logprobs(
    hidden: Tensor, head: LMHead, ids: Tensor, temperature: float = 1.0, tile_elements: int = TILE_ELEMENTS
) -> TokenLogprobs:
    """``log_softmax(head.logits(hidden) / temperature)[n, ids[n]]`` for each n, and the entropy.

    Args:
        hidden: [N, H], already shifted: ``hidden[n]`` is the state at the position before the token ``ids[n]``.
        head: the head of the model.
        ids: int64 [N].
        temperature: divides the logits.
        tile_elements: logits to hold at once.

    Returns:
        Log-probabilities, differentiable in `hidden` and in the head's weight and bias, and entropies. Empty with zero
        gradients for N = 0.

    Example:
        >>> head = LMHead(weight=torch.zeros(4, 2))  # uniform over four tokens
        >>> logprobs, entropy = token_logprobs(torch.ones(1, 2), head, torch.tensor([3]))
        >>> logprobs.exp().tolist(), entropy.exp().tolist()
        ([0.25], [4.0])
    """
    rows = max(1, tile_elements // head.vocab_size)
    return TokenLogprobs(*_TokenLogprobs.apply(hidden, head.weight, head.bias, ids, head, temperature, rows))


@torch.no_grad()
def log_mass(hidden: Tensor, head: LMHead, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """Log of the total probability of a set of tokens at each position. No gradient.

    Args:
        hidden: [N, H]; row n predicts the token at position n.
        head: the head of the model.
        ids: int64 [K], the set.
        temperature: divides the logits.

    Returns:
        Nats, float32 [N] (float64 if the head's weight is); empty for N = 0.

    Example:
        >>> head = LMHead(weight=torch.zeros(4, 2))
        >>> log_mass(torch.ones(1, 2), head, torch.tensor([0, 3])).exp().tolist()
        [0.5]
    """
    rows = max(1, TILE_ELEMENTS // head.vocab_size)
    parts = [torch.log_softmax(head.logits(tile) / temperature, -1)[:, ids] for tile in hidden.split(rows)]
    return torch.cat(parts).logsumexp(-1) if parts else hidden.new_zeros(0, dtype=torch.float32)


@torch.no_grad()
def top_logprobs(hidden: Tensor, head: LMHead, k: int, temperature: float = 1.0) -> TopLogprobs:
    """The k most probable tokens at each position. No gradient.

    Args:
        hidden: [N, H], N >= 1; row n predicts the token at position n.
        head: the head of the model.
        k: number of tokens; the whole vocabulary if it has fewer.
        temperature: divides the logits.

    Example:
        >>> top = top_logprobs(torch.tensor([[0.0, 2.0, 1.0]]), LMHead(weight=torch.eye(3)), k=2)
        >>> top.ids.tolist()
        [[1, 2]]
    """
    k = min(k, head.vocab_size)
    rows = max(1, TILE_ELEMENTS // head.vocab_size)
    tops = [torch.log_softmax(head.logits(tile) / temperature, -1).topk(k, -1) for tile in hidden.split(rows)]
    return TopLogprobs(torch.cat([top.indices for top in tops]), torch.cat([top.values for top in tops]))


class _TokenLogprobs(torch.autograd.Function):
    """Saves only the hidden states, and recomputes each tile of logits in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        head: LMHead,
        temperature: float,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        logprobs = torch.empty(len(ids), dtype=torch.promote_types(weight.dtype, torch.float32), device=hidden.device)
        entropy = torch.empty_like(logprobs)
        for start in range(0, len(ids), rows):
            tile = slice(start, start + rows)
            log_probs = torch.log_softmax(head.logits(hidden[tile]) / temperature, dim=-1)
            logprobs[tile] = log_probs.gather(1, ids[tile, None])[:, 0]
            entropy[tile] = -(log_probs.exp() * log_probs).sum(-1)
        ctx.save_for_backward(hidden, weight, bias, ids)
        ctx.head, ctx.temperature, ctx.rows = head, temperature, rows
        device = hidden.device.type
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        ctx.autocast = {"device_type": device, "enabled": enabled, "dtype": dtype}
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids = ctx.saved_tensors
        grad_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        dtype = torch.promote_types(weight.dtype, torch.float32)
        grad_weight = torch.zeros_like(weight, dtype=dtype) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=dtype) if ctx.needs_input_grad[2] else None
        for start in range(0, len(ids), ctx.rows):
            tile = slice(start, start + ctx.rows)
            with torch.autocast(**ctx.autocast):  # the same logits as in the forward pass
                logits = ctx.head.logits(hidden[tile])
            grad_raw = _grad_raw_logits(ctx.head, logits, ids[tile], grad_logprobs[tile], ctx.temperature)
            if grad_hidden is not None:
                grad_hidden[tile] = (grad_raw.to(weight.dtype) @ weight).to(hidden.dtype)
            if grad_weight is not None:
                add_outer(grad_weight, grad_raw, hidden[tile], weight.dtype)
            if grad_bias is not None:
                grad_bias += grad_raw.sum(0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None,) * 4,
        )


def _grad_raw_logits(head: LMHead, logits: Tensor, ids: Tensor, grad_logprobs: Tensor, temperature: float) -> Tensor:
    """Gradient of ``sum(grad_logprobs * logprobs)`` with respect to ``hidden @ weight.T + bias``: float32 [N, V]."""
    grad = torch.softmax(logits / temperature, dim=-1).neg_()
    grad.scatter_add_(1, ids[:, None], torch.ones_like(grad[:, :1]))
    grad *= grad_logprobs[:, None] * (head.scale / temperature)
    if head.softcap is not None:
        grad *= 1 - (logits / head.softcap) ** 2  # derivative of cap * tanh(x / cap)
    return grad
