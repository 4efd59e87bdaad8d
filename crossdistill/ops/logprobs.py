"""Log-probabilities of chosen tokens, in tiles over positions.

Shapes: N positions, H hidden size, V vocabulary. Only one tile of logits exists at a time, in the forward and backward
pass, so memory does not grow with N x V.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossdistill.ops.gradients import refuse_second_derivatives
from crossdistill.ops.head import LMHead
from crossdistill.ops.pieces import TILE_ELEMENTS, LogitTiles, autocast_now, logit_pieces, pieces, tiles
from crossdistill.ops.products import add_gradients


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
    return TokenLogprobs(*_TokenLogprobs.apply(hidden, head.weight, head.bias, ids, head, temperature, tile_elements))


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
    masses = torch.empty(len(hidden), dtype=torch.promote_types(head.weight.dtype, torch.float32), device=hidden.device)
    for rows, logits in logit_pieces(hidden, head, temperature, TILE_ELEMENTS):
        masses[rows] = logits.index_select(1, ids).logsumexp(-1) - logits.logsumexp(-1)
    return masses


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
    found = logit_pieces(hidden, head, temperature, TILE_ELEMENTS)
    tops = [torch.log_softmax(logits, -1).topk(k, -1) for _, logits in found]
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
        tile_elements: int,
    ) -> tuple[Tensor, Tensor]:
        logprobs = torch.empty(len(ids), dtype=torch.promote_types(weight.dtype, torch.float32), device=hidden.device)
        entropy = torch.empty_like(logprobs)
        for rows, logits in logit_pieces(hidden[: len(ids)], head, temperature, tile_elements):
            top = logits.amax(-1, keepdim=True)
            chosen = logits.gather(1, ids[rows, None]) - top
            probs = logits.sub_(top).exp()
            total = probs.sum(-1)
            logprobs[rows] = chosen[:, 0] - total.log()
            entropy[rows] = total.log() - torch.linalg.vecdot(probs, logits) / total
        ctx.save_for_backward(hidden, weight, bias, ids)
        ctx.head, ctx.temperature, ctx.tile_elements = head, temperature, tile_elements
        ctx.autocast = autocast_now(hidden.device)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        hidden, weight, bias, ids = ctx.saved_tensors
        grad_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        dtype = torch.promote_types(weight.dtype, torch.float32)
        grad_weight = torch.zeros_like(weight, dtype=dtype) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=dtype) if ctx.needs_input_grad[2] else None
        head: LMHead = ctx.head
        size = max(1, min(len(ids), ctx.tile_elements // head.vocab_size))
        memory = LogitTiles(head, size)
        for tile in tiles(len(ids), size):
            with torch.autocast(**ctx.autocast):  # the same logits as in the forward pass
                raw = memory.raw(hidden[tile])
            for piece in pieces(tile, head.vocab_size, hidden.device):
                logits = raw[piece.start - tile.start : piece.stop - tile.start]
                grad = _grad_raw_logits(head, head.finish(logits), ids[piece], grad_logprobs[piece], ctx.temperature)
                logits.copy_(grad)
            add_gradients((grad_hidden, grad_weight, grad_bias), head, raw, hidden, tile)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None,) * 4,
        )


def _grad_raw_logits(head: LMHead, logits: Tensor, ids: Tensor, grad_logprobs: Tensor, temperature: float) -> Tensor:
    """Gradient of ``sum(grad_logprobs * logprobs)`` with respect to ``hidden @ weight.T + bias``: float32 [N, V]."""
    slope = grad_logprobs[:, None] * (head.scale / temperature)
    grad = torch.softmax(logits if temperature == 1 else logits / temperature, dim=-1).mul_(-slope)
    grad.scatter_add_(1, ids[:, None], slope.to(grad.dtype))
    if head.softcap is not None:
        grad *= 1 - (logits / head.softcap) ** 2  # derivative of cap * tanh(x / cap)
    return grad
