"""The bare products with the two output layers, and how many of them an objective makes."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.dense.case import Case
from crossdistill import ops
from crossdistill.ops import LMHead
from crossdistill.ops.logprobs import TILE_ELEMENTS


class BareProducts:
    """Both models' logits and the gradients of the student's states (and weight, if trained), with nothing between.

    Computed in the same tiles as ours and into the same memory every time; a tile's logits replace their gradient.
    """

    def __init__(self, case: Case):
        self._case = case
        self._student, self._teacher = case.student, case.batch.teacher.dense
        self._grad_hidden = torch.empty_like(self._student.hidden)
        weight = self._student.head.weight
        self._grad_weight = torch.zeros_like(weight) if weight.requires_grad else None

    @torch.no_grad()
    def __call__(self) -> None:
        ours, theirs = self._student.head.weight, self._teacher.head.weight
        rows = max(1, TILE_ELEMENTS // (len(ours) + len(theirs)))
        buffers = [weight.new_empty(rows, len(weight)) for weight in (ours, theirs)]
        for start in range(0, len(self._teacher.hidden), rows):
            hidden = self._teacher.hidden[start : start + rows]
            torch.mm(hidden, theirs.T, out=buffers[1][: len(hidden)])
        for start in range(0, len(self._student.hidden), rows):
            hidden = self._student.hidden[start : start + rows]
            logits = buffers[0][: len(hidden)]
            torch.mm(hidden, ours.T, out=logits)
            torch.mm(logits, ours, out=self._grad_hidden[start : start + rows])
            if self._grad_weight is not None:
                self._grad_weight.addmm_(logits.T, hidden)

    @property
    def flop(self) -> int:
        passes = 3 if self._grad_weight is not None else 2
        return _flop(self._student, passes) + _flop(self._teacher, 1)


def _flop(states: Any, passes: int) -> int:
    return 2 * passes * states.hidden.shape[0] * states.head.weight.numel()


@contextmanager
def counted() -> Iterator[list[int]]:
    """FLOP of the products in :func:`tiled_sum` and :func:`token_logprobs`: one number a call.

    A lower bound: logits that are computed a second time, and products made elsewhere, are not counted.
    """
    flop: list[int] = []

    def add(hidden: torch.Tensor, head: LMHead, with_grad: bool) -> None:
        passes = 1 + (torch.is_grad_enabled() and with_grad) * (1 + head.weight.requires_grad)
        flop.append(2 * passes * len(hidden) * head.weight.numel())

    def tiled_sum(function: Any, hidden: Any, head: Any, *rest: Any, **named: Any) -> Any:
        add(hidden, head, True)
        if rest and rest[0] is not None:
            add(rest[0], rest[1], False)
        return ops.tiled_sum(function, hidden, head, *rest, **named)

    def token_logprobs(hidden: Any, head: Any, *rest: Any, **named: Any) -> Any:
        add(hidden, head, hidden.requires_grad or head.weight.requires_grad)
        return ops.token_logprobs(hidden, head, *rest, **named)

    users = [module for name, module in sys.modules.items() if name.startswith("crossdistill.objectives.")]
    with ExitStack() as stack:
        for name, wrapper in (("tiled_sum", tiled_sum), ("token_logprobs", token_logprobs)):
            for module in users:
                if vars(module).get(name) is getattr(ops, name):
                    stack.enter_context(patch.object(module, name, wrapper))
        yield flop
