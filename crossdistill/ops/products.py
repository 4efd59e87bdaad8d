"""The products with the weight of a head: logits, and the gradients of the states and of the weight.

Shapes: N positions, H hidden size, V logits of the head. A head of some tokens is multiplied in blocks of its rows,
which are copied a block at a time: a copy of them all can be larger than everything else that a loss holds.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from crossdistill.ops.head import LMHead

BLOCK_ELEMENTS = 2**20
"""Numbers of the weight to copy at once on a CPU, 4 MiB in float32: its cache holds them."""
BLOCK_ELEMENTS_ELSEWHERE = 2**26
"""On other devices, to which a small product is no work."""


class Block(NamedTuple):
    """Some logits of a head: which, and their part of it.

    Attributes:
        columns: of the logits.
        ids: their rows of the whole weight, int64; None for all of them.
        weight: [columns, H].
        bias: [columns], or None.
    """

    columns: slice
    ids: Tensor | None
    weight: Tensor
    bias: Tensor | None


def blocks_of(head: LMHead) -> Iterator[Block]:
    """A head in blocks, without gradient; one of all tokens is a block, and no copy."""
    weight, bias = head.weight.detach(), None if head.bias is None else head.bias.detach()
    if head.ids is None:
        yield Block(slice(head.vocab_size), None, weight, bias)
        return
    start = 0
    for ids in head.ids.split(_block_rows(weight)):
        own = None if bias is None else bias.index_select(0, ids)
        yield Block(slice(start, start + len(ids)), ids, weight.index_select(0, ids), own)
        start += len(ids)


def raw_into(head: LMHead, hidden: Tensor, out: Tensor) -> None:
    """Write ``LMHead.raw(hidden)``, [N, V], to `out`: float32 at least."""
    device, states = hidden.device.type, hidden.to(head.weight.dtype)
    is_direct = out.dtype == states.dtype and not torch.is_autocast_enabled(device)
    for block in blocks_of(head):
        target = out[:, block.columns]
        if not is_direct:
            target.copy_(linear(states, block.weight, block.bias))
            continue
        torch.mm(states, block.weight.T, out=target)
        if block.bias is not None:
            target += block.bias


def hidden_gradient(head: LMHead, grad_raw: Tensor) -> Tensor:
    """The gradient of the states from that of :meth:`LMHead.raw`: [N, V] -> [N, H], in the weight's dtype at least."""
    grad = grad_raw.to(head.weight.dtype)
    if head.ids is None:
        return grad @ head.weight.detach()
    total = torch.zeros(len(grad), head.weight.shape[1], dtype=grad_raw.dtype, device=grad.device)
    for block in blocks_of(head):
        total += grad[:, block.columns] @ block.weight
    return total


def add_weight_gradient(total: Tensor, head: LMHead, grad_raw: Tensor, hidden: Tensor) -> None:
    """Add the gradient of the whole weight, ``grad_raw.T @ hidden`` at the rows of this head, to `total`.

    The product is made in the weight's dtype, as autograd does for a linear layer; a wider one is many times slower on
    a GPU.
    """
    dtype = head.weight.dtype
    if head.ids is not None:
        step = _block_rows(head.weight)
        for ids, grad in zip(head.ids.split(step), grad_raw.split(step, dim=1), strict=True):
            total.index_add_(0, ids, (grad.to(dtype).T @ hidden.to(dtype)).to(total.dtype))
    elif dtype in (torch.float32, torch.float64):
        total.addmm_(grad_raw.T.to(total.dtype), hidden.to(total.dtype))
    else:
        total += grad_raw.to(dtype).T @ hidden.to(dtype)


def add_bias_gradient(total: Tensor, head: LMHead, grad_raw: Tensor) -> None:
    """Add the gradient of the whole bias."""
    own = grad_raw.sum(0).to(total.dtype)
    if head.ids is None:
        total += own
    else:
        total.index_add_(0, head.ids, own)


def add_gradients(totals: Sequence[Tensor | None], head: LMHead, grad_raw: Tensor, hidden: Tensor, rows: slice) -> None:
    """Add the gradients of a tile.

    Args:
        totals: of all states, of the whole weight and of the whole bias; None for one that is not wanted.
        head: the head.
        grad_raw: of :meth:`LMHead.raw` of these rows.
        hidden: all states.
        rows: of the tile.
    """
    of_hidden, of_weight, of_bias = totals
    if of_hidden is not None:
        of_hidden[rows] = hidden_gradient(head, grad_raw).to(of_hidden.dtype)
    if of_weight is not None:
        add_weight_gradient(of_weight, head, grad_raw, hidden[rows])
    if of_bias is not None:
        add_bias_gradient(of_bias, head, grad_raw)


def _block_rows(weight: Tensor) -> int:
    elements = BLOCK_ELEMENTS if weight.device.type == "cpu" else BLOCK_ELEMENTS_ELSEWHERE
    return max(1, elements // weight.shape[1])
