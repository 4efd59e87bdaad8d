"""Values of any function of a model's logits, several at each position, in tiles over positions.

Shapes: N positions, H hidden size, V logits of the head, J values a position, R rows of a piece (module `pieces`). A
loss that couples positions, the tokens of a chunk say, cannot be a :func:`crossdistill.ops.tiled_sum`. The backward
pass computes each tile of logits again, so memory does not grow with N x V.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from crossdistill.ops.gradients import refuse_second_derivatives
from crossdistill.ops.head import LMHead
from crossdistill.ops.pieces import TILE_ELEMENTS, LogitTiles, autocast_now, logit_pieces, pieces, tiles
from crossdistill.ops.products import add_gradients

ValueFunction = Callable[[Tensor, slice], Tensor]
"""(logits float32 [R, V], which rows) -> [R, J]; differentiable by autograd."""


def tiled_values(
    function: ValueFunction,
    hidden: Tensor,
    head: LMHead,
    values: Tensor | None = None,
    tile_elements: int = TILE_ELEMENTS,
) -> Tensor:
    """``function(head.logits(hidden), all rows)``, [N, J], differentiable in `hidden` and the head's weight and bias.

    Args:
        function: the values of consecutive rows; it does not write to the logits.
        hidden: [N, H].
        head: the head of the model.
        values: [N, J], if they are known: the forward pass then computes nothing.
        tile_elements: logits to hold at once.

    Example:
        >>> hidden = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)
        >>> head = LMHead(torch.eye(2))
        >>> tiled_values(lambda logits, rows: logits.logsumexp(-1, keepdim=True), hidden, head).sum().backward()
        >>> hidden.grad[1].tolist() == hidden[1].softmax(-1).tolist()
        True
    """
    if values is None:
        values = _computed(function, hidden.detach(), head, tile_elements)
    result: Tensor = _TiledValues.apply(function, head, values, tile_elements, hidden, head.weight, head.bias)
    return result


@torch.no_grad()
def _computed(function: ValueFunction, hidden: Tensor, head: LMHead, tile_elements: int) -> Tensor:
    """[N, J]. A function may return a view of the logits, whose memory is used again: its values are copied at once."""
    values = None
    for rows, logits in logit_pieces(hidden, head, tile_elements=tile_elements):
        part = function(logits, rows)
        if values is None:
            values = part.new_empty(len(hidden), *part.shape[1:])
        values[rows] = part
    return function(head.logits(hidden), slice(0, 0)) if values is None else values


class _TiledValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: ValueFunction,
        head: LMHead,
        values: Tensor,
        tile_elements: int,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.function, ctx.head, ctx.tile_elements = function, head, tile_elements
        ctx.autocast = autocast_now(hidden.device)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        hidden, weight, bias = ctx.saved_tensors
        head: LMHead = ctx.head
        wide = torch.promote_types(weight.dtype, torch.float32)
        wanted = ctx.needs_input_grad[4:]
        grad_hidden = torch.zeros_like(hidden) if wanted[0] else None
        grad_weight = torch.zeros_like(weight, dtype=wide) if wanted[1] else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if wanted[2] else None
        size = max(1, min(len(hidden), ctx.tile_elements // head.vocab_size))
        memory = LogitTiles(head, size)
        for tile in tiles(len(hidden), size):
            with torch.autocast(**ctx.autocast):  # the same logits as in the forward pass
                raw = memory.raw(hidden[tile])
            for piece in pieces(tile, head.vocab_size, raw.device):
                own = raw[piece.start - tile.start : piece.stop - tile.start]
                leaf = own.detach().requires_grad_()
                with torch.enable_grad():
                    found = ctx.function(head.finish(leaf), piece)
                own.copy_(torch.autograd.grad(found, leaf, grad_values[piece].to(found))[0])
            add_gradients((grad_hidden, grad_weight, grad_bias), head, raw, hidden, tile)
        return (
            *(None,) * 4,
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
        )
