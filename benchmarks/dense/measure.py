"""Measure one way at one size, in a process of its own.

python -m benchmarks.dense.measure '{"way": ..., ...}' result.json
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.dense.case import Case, World
from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, NAIVE, Setting, Size
from benchmarks.dense.memory import OutOfMemoryError, cap, peak_of
from benchmarks.dense.naive import FORMS
from benchmarks.dense.products import BareProducts, counted
from crossdistill.objectives import Objective, get
from crossdistill.ops import LMHead
from crossdistill.report.versions import versions
from crossdistill.runs.run_file import write_json

SMALL_TOKENS = 24
"""Tokens of the warm-up case, on which ours and the naive form must agree."""
SAME_VOCABULARY = ("gkd",)
"""Objectives for two models of one vocabulary."""

STARTED = "started"
"""The status in the result's file while the call is running."""

Step = Callable[[], Tensor | None]
"""Forward and backward; returns the loss."""


class Output(nn.Module):
    """The part of a student that an objective with auxiliary heads needs."""

    def __init__(self, head: LMHead):
        super().__init__()
        self.weight = head.weight.detach()

    def get_output_embeddings(self) -> "Output":
        return self


def objective_of(name: str, world: World) -> Objective:
    objective = get(name)
    objective.check(world.pair)
    objective.attach(Output(world.heads[0]))
    return objective


def step_of(way: str, world: World) -> Callable[[Case], Step]:
    """A function from a case to one forward and backward pass."""
    if way == FLOOR:
        return BareProducts
    if way in (GOLD_HYBRID, GOLD_PLAIN):
        from benchmarks.dense.gold import GoldInputs, loss_function

        function = loss_function(world, way == GOLD_HYBRID)

        def gold(case: Case) -> Step:
            inputs = GoldInputs(case, world)
            return lambda: backward(inputs.loss(function))

        return gold
    objective = objective_of(way.removeprefix(NAIVE), world)
    form = FORMS[way.removeprefix(NAIVE)] if way.startswith(NAIVE) else lambda given: objective.loss(given).total

    def ours(case: Case) -> Step:
        inputs = case.inputs(objective)
        return lambda: backward(form(inputs))

    return ours


def backward(total: Tensor) -> Tensor:
    """Fill the gradients, and return the loss."""
    total.backward()
    return total.detach()


def agreement(name: str, world: World, case: Case) -> dict[str, float] | None:
    """:func:`difference` of ours from the naive form; None without one."""
    if name not in FORMS:
        return None
    return difference(*(step_of(way, world)(case) for way in (name, NAIVE + name)), case)


def difference(ours: Step, other: Step, case: Case) -> dict[str, float]:
    """Relative difference of the first step from the second, in the value and in the gradients."""
    found = []
    for step in (ours, other):
        value = step()
        assert value is not None
        found.append((value.double(), torch.cat([_gradient(leaf).flatten().double() for leaf in case.leaves])))
        forget(case)
    (value, gradient), (other_value, other_gradient) = found
    return {
        "value": float((value - other_value).abs() / other_value.abs()),
        "gradient": float((gradient - other_gradient).norm() / other_gradient.norm()),
    }


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


def forget(case: Case) -> None:
    """Drop the gradients."""
    for leaf in case.leaves:
        leaf.grad = None


def timed(step: Step, device: str) -> tuple[float, float]:
    """Seconds on the clock, and of all cores of this process."""
    synchronise(device)
    start, start_cpu = time.perf_counter(), time.process_time()
    step()
    synchronise(device)
    return time.perf_counter() - start, time.process_time() - start_cpu


def synchronise(device: str) -> None:
    """Wait for what a GPU was told to do."""
    if device != "cpu":
        torch.cuda.synchronize()


def measure(way: str, size: Size, setting: Setting, output: Path) -> dict[str, Any]:
    """The figures of one way; `status` is "ok" or the reason why there are none."""
    name = way.removeprefix(NAIVE)
    world = World(size, setting, same_vocabulary=name in SAME_VOCABULARY)
    small, case = world.case(SMALL_TOKENS), world.case(size.tokens)
    make = step_of(way, world)
    result: dict[str, Any] = {"fed": text_facts(case), "machine": machine(setting)}
    if way == name:
        result["agreement"] = agreement(name, world, small)
    timed(make(small), setting.device)  # libraries, tables of the vocabularies
    forget(small)
    step = make(case)
    write_json(output, result | {"status": STARTED, "began": time.time()})
    cap(setting.cap_bytes, setting.device)
    found = called(step, case, setting)
    if way == FLOOR and found["status"] == "ok":
        found["product_flop"] = BareProducts(case).flop
    return result | found


def called(step: Step, case: Case, setting: Setting) -> dict[str, Any]:
    """Time, peak memory and counted products of a step, by repeated calls; no case may have a gradient before."""
    try:
        with peak_of(setting.device) as peak, counted() as flop:
            times = [timed(step, setting.device)]
    except OutOfMemoryError as error:
        return {"status": "out of memory", "extra_bytes_at_least": peak.extra_bytes, "reason": str(error)}
    gradients = [leaf.grad for leaf in case.leaves if leaf.grad is not None]
    gradient_bytes = sum(gradient.nbytes for gradient in gradients)
    del gradients
    while len(times) < setting.repeats and sum(wall for wall, _ in times) < setting.cheap_seconds:
        forget(case)
        times.append(timed(step, setting.device))
    walls = sorted(wall for wall, _ in times)
    return {
        "status": "ok",
        "seconds": walls[(len(walls) - 1) // 2],
        "seconds_of_each": [wall for wall, _ in times],
        "core_seconds_of_each": [cores for _, cores in times],
        "extra_bytes": peak.extra_bytes,
        "gradient_bytes": gradient_bytes,
        "product_flop": sum(flop),
    }


def text_facts(case: Case) -> dict[str, Any]:
    """Counts of the text."""
    alignment, pair = case.batch.alignment, case.batch.pair
    return {
        "responses": len(case.responses),
        "student_tokens": int(alignment.student_splits[-1]),
        "teacher_tokens": int(alignment.teacher_splits[-1]),
        "chunks": alignment.num_chunks,
        "share_of_chunks_one_to_one": float(alignment.is_one_to_one.mean()),
        "shared_entries": pair.num_shared,
    }


def machine(setting: Setting) -> dict[str, Any]:
    on_cpu = setting.device == "cpu"
    return {
        "device": f"{platform.machine()}, {os.cpu_count()} cores" if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def job(way: str, size: Size, setting: Setting) -> str:
    """The first argument of :func:`main`."""
    return json.dumps({"way": way, "size": asdict(size), "setting": asdict(setting)})


def main(text: str, output: Path) -> None:
    given = json.loads(text)
    write_json(output, measure(given["way"], Size(**given["size"]), Setting(**given["setting"]), output))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
