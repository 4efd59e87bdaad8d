"""Sums of any function of the logits of one or two models over positions, in tiles over positions.

Shapes: N positions, H hidden size, V vocabulary, R rows of a piece (module `pieces`). A tile of logits exists only
while its share of the sum and of the gradient is computed, in the forward pass; their gradient takes their place. The
backward pass needs only the gradient of the hidden states [N, H], so memory does not grow with N x V and the logits are
computed once.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.ops.gradients import refuse_second_derivatives
from crossdistill.ops.head import LMHead
from crossdistill.ops.pieces import TILE_ELEMENTS, LogitTiles, pieces, tiles
from crossdistill.ops.products import add_gradients

_LARGE = 2**20  # numbers of a gradient of which there are not two at once


class Share(NamedTuple):
    """The contribution of each row of a piece to a :func:`tiled_sum`.

    Attributes:
        loss: [R], differentiable.
        stats: name -> [R], constant, for logging.
    """

    loss: Tensor
    stats: dict[str, Tensor] = {}  # noqa: RUF012 - nothing writes to it


class TiledSum(NamedTuple):
    """A sum over positions.

    Attributes:
        total: scalar, differentiable.
        stats: name -> scalar, constant.
    """

    total: Tensor
    stats: dict[str, Tensor]


TileFunction = Callable[..., Share]
"""(student logits float32 [R, V_S], teacher logits float32 [R, V_T], one tensor [R, ...] per row tensor, row numbers
int64 [R]) -> the rows' shares. Differentiable by autograd; the teacher's logits are constant, and absent without a
teacher. Every piece has the same names of stats, and its logits are gone with the next."""


def tiled_sum(
    function: TileFunction,
    hidden: Tensor,
    head: LMHead,
    teacher_hidden: Tensor | None = None,
    teacher_head: LMHead | None = None,
    rows: Sequence[Tensor] = (),
    tile_elements: int = TILE_ELEMENTS,
) -> TiledSum:
    """``sum_n function(...)[n]``, differentiable in `hidden`, in the head's weight and bias, and in `rows`.

    Args:
        function: the shares of consecutive rows. It is called as
            ``function(student_logits, [teacher_logits,] *rows, numbers)`` with logits [R, V], these rows of each of
            `rows`, and their numbers, int64 [R]; it returns a :class:`Share`.
        hidden: [N, H_S], the student's states at N positions.
        head: the student's head.
        teacher_hidden: [N, H_T], the teacher's states at the same positions, constant; None without a teacher.
        teacher_head: the teacher's head; None without a teacher.
        rows: tensors [N, ...] that are passed to the function piece by piece.
        tile_elements: logits of both models to hold at once.

    Returns:
        The sum and its stats. For N = 0 the sum is 0 with zero gradients, and there are no stats.

    Example:
        >>> def squares(logits, numbers):
        ...     return Share(logits.square().sum(-1), {"rows": torch.ones(len(numbers))})
        >>> hidden = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)
        >>> total, stats = tiled_sum(squares, hidden, LMHead(weight=torch.eye(2)))
        >>> total.backward()
        >>> total.item(), stats["rows"].item(), hidden.grad.tolist()
        (14.0, 2.0, [[2.0, 4.0], [6.0, 0.0]])
    """
    width = head.vocab_size + (teacher_head.vocab_size if teacher_head is not None else 0)
    tile = max(1, tile_elements // width)
    teacher = None if teacher_hidden is None else (teacher_hidden.detach(), teacher_head)
    with_grad = torch.is_grad_enabled()
    stats: dict[str, Tensor] = {}
    total: Tensor = _TiledSum.apply(
        function, head, teacher, tile, with_grad, stats, hidden, head.weight, head.bias, *rows
    )
    return TiledSum(total, stats)


class _TiledSum(torch.autograd.Function):
    """Computes the gradients together with the sum; the backward pass only scales them. Adds to `stats`."""

    @staticmethod
    def forward(
        ctx: Any,
        function: TileFunction,
        head: LMHead,
        teacher: tuple[Tensor, LMHead] | None,
        tile: int,
        with_grad: bool,
        stats: dict[str, Tensor],
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *rows: Tensor,
    ) -> Tensor:
        wanted = [with_grad and flag for flag in ctx.needs_input_grad[_NUM_SETTINGS:]]
        grads = _zeros(wanted, [hidden, weight, bias, *rows])
        total = torch.zeros((), dtype=torch.promote_types(weight.dtype, torch.float32), device=hidden.device)
        size = max(1, min(tile, len(hidden)))
        memory, theirs = LogitTiles(head, size), None if teacher is None else LogitTiles(teacher[1], size)
        width = head.vocab_size + (0 if teacher is None else teacher[1].vocab_size)
        for part in tiles(len(hidden), size):
            raw = memory.raw(hidden[part])
            teacher_raw = None
            if teacher is not None and theirs is not None:  # the teacher may be on another device
                teacher_raw = theirs.raw(teacher[0][part].to(teacher[1].weight.device))
            for piece in pieces(part, width, raw.device):
                own = slice(piece.start - part.start, piece.stop - part.start)
                leaf = raw[own].detach().requires_grad_(any(wanted))
                given = [row[piece].detach().requires_grad_(want) for row, want in zip(rows, wanted[3:], strict=True)]
                numbers = torch.arange(piece.start, piece.stop, device=hidden.device)
                with torch.set_grad_enabled(any(wanted)):
                    logits = [head.finish(leaf)]
                    if teacher is not None and teacher_raw is not None:
                        logits.append(teacher[1].finish(teacher_raw[own]).to(raw.device))
                    share = function(*logits, *given, numbers)
                    loss = share.loss.sum()
                total += loss.detach()
                for name, values in share.stats.items():
                    stats[name] = stats.get(name, 0) + values.detach().sum()
                if any(wanted):
                    _differentiate(loss, leaf, given, grads[3:], piece)
            if any(wanted):
                add_gradients(grads[:3], head, raw, hidden, part)
        ctx.save_for_backward(*(grad for grad in grads if grad is not None))
        ctx.is_spent = False
        ctx.present = [grad is not None for grad in grads]
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden, weight, bias, *rows)]
        return total

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        if ctx.is_spent:
            raise InputError(
                "the gradient of a large loss is there once, so that memory holds it once: call backward once, on the "
                "sum of all terms, or compute the loss again."
            )
        ctx.is_spent = any(grad is not None and grad.numel() > _LARGE for grad in ctx.saved_tensors)
        saved = iter(ctx.saved_tensors)
        scaled = [
            _times(next(saved), grad_total).to(dtype) if present else None
            for present, dtype in zip(ctx.present, ctx.dtypes, strict=True)
        ]
        return (*(None,) * _NUM_SETTINGS, *scaled)


_NUM_SETTINGS = 6  # arguments of _TiledSum.forward before its tensors


def _zeros(wanted: Sequence[bool], tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Buffers for the gradients, in float32 at least; None for tensors without one."""
    return [
        torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
        if want and tensor is not None
        else None
        for want, tensor in zip(wanted, tensors, strict=True)
    ]


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    """The product; a large gradient is overwritten, which allows no second backward pass over the graph."""
    return gradient.mul_(factor) if gradient.numel() > _LARGE else gradient * factor


def _differentiate(
    loss: Tensor, raw: Tensor, rows: Sequence[Tensor], grad_rows: Sequence[Tensor | None], piece: slice
) -> None:
    """Put the gradients of a piece in place: that of its logits where these are."""
    sources = [raw, *(row for row in rows if row.requires_grad)]
    grad_raw, *found = torch.autograd.grad(loss, sources, allow_unused=True, materialize_grads=True)
    raw.detach().copy_(grad_raw)
    for total, grad in zip((total for total in grad_rows if total is not None), found, strict=True):
        total[piece] = grad.to(total.dtype)
