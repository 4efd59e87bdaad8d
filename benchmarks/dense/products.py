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
from crossdistill.ops.pieces import TILE_ELEMENTS


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
    """FLOP of the products with output layers that a loss must make: one number a call.

    Logits that are computed a second time in a backward pass are work, and not counted.
    """
    flop: list[int] = []

    def add(rows: int, head: LMHead, passes: int) -> None:
        flop.append(2 * passes * rows * head.vocab_size * head.weight.shape[1])

    def gradients(hidden: torch.Tensor, head: LMHead) -> int:
        return torch.is_grad_enabled() * (hidden.requires_grad + head.weight.requires_grad)

    def tiled_sum(function: Any, hidden: Any, head: Any, *rest: Any, **named: Any) -> Any:
        add(len(hidden), head, 1 + gradients(hidden, head))
        if rest and rest[0] is not None:
            add(len(rest[0]), rest[1], 1)
        return ops.tiled_sum(function, hidden, head, *rest, **named)

    def tiled_values(function: Any, hidden: Any, head: Any, values: Any = None, **named: Any) -> Any:
        add(len(hidden), head, (values is None) + gradients(hidden, head))
        return ops.tiled_values(function, hidden, head, values, **named)

    def token_logprobs(hidden: Any, head: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        add(len(ids), head, 1 + gradients(hidden, head))
        return ops.token_logprobs(hidden, head, ids, *rest, **named)

    def log_mass(hidden: Any, head: Any, *rest: Any, **named: Any) -> Any:
        add(len(hidden), head, 1)
        return ops.log_mass(hidden, head, *rest, **named)

    def logit_pieces(hidden: Any, head: Any, *rest: Any, **named: Any) -> Any:
        add(len(hidden), head, 1)
        return ops.pieces.logit_pieces(hidden, head, *rest, **named)

    users = [module for name, module in sys.modules.items() if name.startswith("crossdistill.objectives.")]
    with ExitStack() as stack:
        for wrapper in (tiled_sum, tiled_values, token_logprobs, log_mass, logit_pieces):
            name = wrapper.__name__
            own = getattr(ops.pieces if name == "logit_pieces" else ops, name)
            for module in users:
                if vars(module).get(name) is own:
                    stack.enter_context(patch.object(module, name, wrapper))
        yield flop
