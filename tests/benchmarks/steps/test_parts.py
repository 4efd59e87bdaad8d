"""Every product with a vocabulary is counted as one, and not as the rest of a step."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.dense import measure
from benchmarks.dense.case import World
from benchmarks.dense.cell import Setting, Size
from benchmarks.objectives import dense_objectives
from benchmarks.steps.parts import BACKWARD, HEAD, watched
from benchmarks.steps.stopwatch import REST, Stopwatch
from crossdistill import ops
from crossdistill.ops import LMHead, logprobs, pieces

VOCABULARY = 1200
STATES = 31, 47
"""Features of the states: every product with an output weight, or with some rows of it, has one of them."""
SIZE = Size(24, VOCABULARY, STATES[0], VOCABULARY, STATES[1])
SETTING = Setting("cpu", "float32", True, 1024, 0, 1, 1.0)
PRODUCTS = ("mm", "addmm", "bmm", "addbmm", "baddbmm", "mv", "addmv")


class Model(nn.Module):
    def generate(self) -> None: ...


class Seen(TorchDispatchMode):
    """Notes during which part each operation on tensors of certain sizes is made.

    Args:
        watch: of the parts.
        sizes: of a dimension, any of them.
        names: of the operations; all if left out.
    """

    def __init__(self, watch: Stopwatch, sizes: Sequence[int], names: Sequence[str] = ()):
        super().__init__()
        self._watch, self._sizes, self._names = watch, {*sizes}, names
        self.parts: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **kwargs or {})
        if not self._names or func.overloadpacket.__name__ in self._names:
            tensors = [one for one in (*args, found) if isinstance(one, torch.Tensor)]
            if any(self._sizes & {*one.shape} for one in tensors):
                self.parts.add(self._watch.current)
        return found


@pytest.fixture
def accelerator():
    return SimpleNamespace(backward=lambda loss: loss.backward(), clip_grad_norm_=None)


@pytest.fixture
def watch(accelerator):
    made = Stopwatch()
    with watched(made, SimpleNamespace(accelerator=accelerator), Model(), Model()):
        yield made


@pytest.mark.parametrize("name", dense_objectives())
def test_products_of_an_objective_are_of_the_head_or_the_backward_pass(watch, accelerator, name, monkeypatch):
    monkeypatch.setattr(measure, "backward", accelerator.backward)
    world = World(SIZE, SETTING, same_vocabulary=name in measure.SAME_VOCABULARY)
    make, case = measure.step_of(name, world), world.case(SIZE.tokens)
    with Seen(watch, STATES, PRODUCTS) as seen:
        make(case)()
    assert {HEAD} <= seen.parts <= {HEAD, BACKWARD}


@pytest.mark.parametrize(
    "routine",
    [
        lambda hidden, head: ops.log_mass(hidden, head, torch.tensor([1])),
        lambda hidden, head: ops.top_logprobs(hidden, head, 2),
        lambda hidden, head: ops.token_logprobs(hidden, head, torch.zeros(5, dtype=torch.long)),
        lambda hidden, head: ops.tiled_values(lambda logits, _: logits.logsumexp(-1, keepdim=True), hidden, head),
        lambda hidden, head: ops.tiled_sum(lambda logits, _: ops.Share(logits.logsumexp(-1)), hidden, head),
        lambda hidden, head: head.logits(hidden),
    ],
)
def test_what_is_computed_from_logits_is_of_the_head_like_the_products(watch, routine):
    hidden, head = torch.ones(5, 4), LMHead(torch.zeros(VOCABULARY, 4))
    with torch.no_grad(), Seen(watch, [VOCABULARY]) as seen:
        routine(hidden, head)
    assert seen.parts == {HEAD}
    assert watch.current == REST


def test_nothing_is_watched_afterwards(accelerator):
    own = pieces.logit_pieces
    with watched(Stopwatch(), SimpleNamespace(accelerator=accelerator), Model(), Model()):
        assert logprobs.logit_pieces is not own
    assert logprobs.logit_pieces is pieces.logit_pieces is own
