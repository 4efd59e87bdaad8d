"""All ways of computing a loss at one size, one after the other in one process: time, peak memory, products.

On a GPU the allocator counts each call's own peak, so that a process of its own for each way is not needed.
"""

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from inspect import isfunction
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.dense import measure
from benchmarks.dense.case import Case, World
from benchmarks.dense.cell import FLOOR, Setting, Size, least_bytes
from benchmarks.dense.measure import SAME_VOCABULARY, SMALL_TOKENS, Step
from benchmarks.dense.memory import available_bytes
from benchmarks.dense.products import BareProducts
from benchmarks.gpu import peers
from benchmarks.gpu.installed import LIGER_JSD
from crossdistill import objectives

TILED = " with tiles times "
"""Between a way and how many times more logits its tiles hold, in the name of a cell."""
CONSTANTS = "TILE_ELEMENTS", "TILE_ELEMENTS_ELSEWHERE"
"""Endings of the names of what a tile holds."""
ARGUMENT = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Ways:
    """The ways at one size, with the vocabularies, texts and states that they share.

    Args:
        size: of the case.
        setting: of the run.
    """

    def __init__(self, size: Size, setting: Setting):
        self._size, self._setting = size, setting
        self._world = cache(lambda same: World(size, setting, same_vocabulary=same))
        self._case = cache(lambda same, tokens: self._world(same).case(tokens))

    def measure(self, cell: str) -> dict[str, Any]:
        """The figures of one way: ``status`` is "ok", or says with a ``reason`` why there are none."""
        way, _, factor = cell.partition(TILED)
        if (needed := least_bytes(way, self._size, self._setting.dtype)) > available_bytes(self._setting.device):
            return {"status": "does not fit", "reason": "of its matrices alone", "computed_bytes_at_least": needed}
        with tiles_times(float(factor)) if factor else nullcontext():
            return self._measured(way)

    def _measured(self, way: str) -> dict[str, Any]:
        same = way in (*SAME_VOCABULARY, LIGER_JSD)
        world, small, case = self._world(same), self._case(same, SMALL_TOKENS), self._case(same, self._size.tokens)
        result: dict[str, Any] = {"fed": measure.text_facts(case), "agreement": self._agreement(way, world, small)}
        make = step_of(way, world)
        measure.timed(make(small), self._setting.device)  # libraries, kernels, tables of the vocabularies
        measure.forget(small)
        if way in peers.SAME_WORK:  # kernels that are tuned to the size at their first call
            make(case)()
            measure.forget(case)
        found = measure.called(make(case), case, self._setting)
        measure.forget(case)
        if found["status"] == "ok" and not found["product_flop"]:
            found["product_flop"] = needed_flop(way, case)
        make_room(self._setting.device)
        return result | found

    def _agreement(self, way: str, world: World, small: Case) -> dict[str, float] | None:
        """With the naive form, or a kernel of others with ours, on a few tokens."""
        if (ours := peers.SAME_WORK.get(way)) is not None:
            return measure.difference(step_of(way, world)(small), step_of(ours, world)(small), small)
        return measure.agreement(way, world, small) if way not in (FLOOR, peers.SAMPLED) else None


def step_of(way: str, world: World) -> Callable[[Case], Step]:
    """A function from a case to one forward and backward pass."""
    if way == peers.SAMPLED or way in peers.SAME_WORK:
        return peers.step_of(way)
    return measure.step_of(way, world)


def needed_flop(way: str, case: Case) -> int | None:
    """Products that the way must make, if they are known and not counted."""
    if way == FLOOR:
        return BareProducts(case).flop
    if way != peers.SAMPLED and way not in peers.SAME_WORK:
        return None
    students, teachers = peers.passes(way)
    (ours, head), (theirs, their_head) = case.student, case.batch.teacher.dense
    return 2 * (students * len(ours) * head.weight.numel() + teachers * len(theirs) * their_head.weight.numel())


@contextmanager
def tiles_times(factor: float) -> Iterator[None]:
    """Let all tiles hold so many times the logits that they hold by default."""
    for name in objectives.available():
        objectives.get(name)  # a module that is loaded later would keep what it finds here
    loaded = [module for name, module in sys.modules.items() if name.startswith("crossdistill.")]
    with ExitStack() as stack:
        for module in loaded:
            for name, value in [*vars(module).items()]:
                if isinstance(value, int) and name.endswith(CONSTANTS):
                    stack.enter_context(patch.object(module, name, int(value * factor)))
                elif isfunction(value) and value.__module__ == module.__name__:
                    _scale_default(value, factor, stack)
        yield


def _scale_default(function: Any, factor: float, stack: ExitStack) -> None:
    parameters = inspect.signature(function).parameters.values()
    given = {one.name: one.default for one in parameters if one.default is not one.empty and one.kind is ARGUMENT}
    if given.get("tile_elements") is not None:
        scaled = given | {"tile_elements": int(given["tile_elements"] * factor)}
        stack.enter_context(patch.object(function, "__defaults__", (*scaled.values(),)))


def make_room(device: str) -> None:
    """Give back what a way has left, so that the next begins where it began."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
