"""Logits of a few chosen tokens at each position, computed from their rows of the head only.

Shapes: N positions, K chosen tokens per position, H hidden size, V vocabulary. Takes N x K x H multiplications instead
of N x V x H, and makes nothing of size N x V in the forward or backward pass.
"""

from typing import Any

import torch
from torch import Tensor

from crossdistill.ops.head import LMHead, wide
from crossdistill.ops.pieces import TILE_ELEMENTS


def chosen_logits(hidden: Tensor, head: LMHead, ids: Tensor, tile_elements: int = TILE_ELEMENTS) -> Tensor:
    """``head.logits(hidden).gather(1, ids)``, differentiable in `hidden` and in the head's weight and bias.

    Args:
        hidden: [N, H].
        head: the head of the model.
        ids: int64 [N, K].
        tile_elements: elements of the head's rows to hold at once.

    Returns:
        float32 [N, K] (float64 if the weight is). Empty with zero gradients for N = 0.

    Example:
        >>> head = LMHead(weight=torch.eye(4))
        >>> chosen_logits(torch.arange(8.0).view(2, 4), head, torch.tensor([[0, 3], [1, 1]])).tolist()
        [[0.0, 3.0], [5.0, 5.0]]
    """
    ids = ids if head.ids is None else head.ids[ids]
    rows = max(1, tile_elements // max(1, ids.shape[1] * hidden.shape[1]))
    raw: Tensor = _ChosenRaw.apply(hidden, head.weight, head.bias, ids, rows)
    return head.finish(raw)


class _ChosenRaw(torch.autograd.Function):
    """Chosen logits before scale and soft cap. The backward pass fetches each tile's rows of the head again."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, rows: int) -> Tensor:
        states = hidden.to(weight.dtype)
        raw = torch.empty(ids.shape, dtype=torch.promote_types(weight.dtype, torch.float32), device=hidden.device)
        for start in range(0, len(ids), rows):
            tile = slice(start, start + rows)
            products = torch.einsum("nkh,nh->nk", weight[ids[tile]], states[tile])
            raw[tile] = wide(products if bias is None else products + bias[ids[tile]])
        ctx.save_for_backward(hidden, weight, bias, ids)
        ctx.rows = rows
        return raw

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids = ctx.saved_tensors
        grad_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=grad.dtype) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=grad.dtype) if ctx.needs_input_grad[2] else None
        for start in range(0, len(ids), ctx.rows):
            tile = slice(start, start + ctx.rows)
            if grad_hidden is not None:
                rows = weight[ids[tile]]
                grad_hidden[tile] = torch.einsum("nkh,nk->nh", rows, grad[tile].to(rows.dtype)).to(hidden.dtype)
            if grad_weight is not None:
                outer = grad[tile, :, None] * hidden[tile, None].to(grad.dtype)
                grad_weight.index_add_(0, ids[tile].flatten(), outer.flatten(0, 1))
        if grad_bias is not None:
            grad_bias.index_add_(0, ids.flatten(), grad.flatten())
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
        )
