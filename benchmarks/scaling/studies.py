"""What the page on scaling asks: the best allocations, the teacher's share, bytes, and what the assumptions weigh."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.scaling.hardware import H100, USUAL
from benchmarks.scaling.models import LLAMA_8B, LLAMA_70B, QWEN3_8B, QWEN_7B, R1, Model
from benchmarks.scaling.parts import STATE_BYTES, Gpus, gpus_of_replica, training_seconds
from benchmarks.scaling.pipeline import Times, run
from benchmarks.scaling.traffic import bytes_of_step
from benchmarks.scaling.workload import Workload

RESULTS = Path(__file__).parents[1] / "results"
LENGTHS = (2_048, 4_096, 8_192, 12_288)
STALENESS = (0, 1, 4)
Rows = list[dict[str, Any]]


TRAINERS = (2, 3, 4, 6, 8, 12, 16, 20, 24)
TEACHERS = (1, 2, 3, 4, 6, 8)


def allocations(total: int) -> Iterator[Gpus]:
    """Ways to share GPUs among the three."""
    for trainer, teacher in product(TRAINERS, TEACHERS):
        if trainer + teacher < total:
            yield Gpus(trainer, total - trainer - teacher, teacher)


def fitting(work: Workload, total: int, staleness: int) -> Iterator[tuple[Gpus, Times]]:
    """The allocations on which the run fits, with its times."""
    for gpus in allocations(total):
        try:
            yield gpus, run(work, gpus, staleness)
        except ValueError:
            continue


def best(work: Workload, total: int, staleness: int) -> dict[str, Any]:
    """The allocation with the shortest step."""
    gpus, times = min(fitting(work, total, staleness), key=lambda found: found[1].period)
    hours = work.steps * times.period / 3600
    return {
        "gpus": total,
        "response_tokens": work.response_tokens,
        "staleness": staleness,
        **asdict(gpus),
        "teacher_seconds": times.teacher,
        "training_seconds": times.training,
        "step_seconds": times.period,
        "tokens_per_second": float(work.lengths.sum()) / times.period,
        "hours": hours,
        "gpu_hours": hours * total,
        "slowest": times.slowest,
    }


def of_paper() -> Rows:
    return [
        best(Workload(response_tokens=length), total, staleness)
        for total, length, staleness in product((8, 16, 32), LENGTHS, STALENESS)
    ]


def teachers() -> Rows:
    """For 8 GPUs that train and 24 that sample: replicas from which on the teacher is not what the others wait for."""
    rows = []
    for model, length in product((QWEN3_8B, LLAMA_70B, R1), (4_096, 12_288)):
        work = Workload(student=QWEN_7B if model is R1 else LLAMA_8B, teacher=model, response_tokens=length, batch=1024)
        replica, replicas = gpus_of_replica(model), 1
        while (times := run(work, Gpus(8, 24, replicas * replica), 4)).slowest == "teacher":
            replicas += 1
        rows.append(
            {
                "teacher": model.name,
                "response_tokens": length,
                "gib": model.bytes_served / 2**30,
                "gpus_of_replica": replica,
                "teacher_seconds": replicas * times.teacher,
                "training_seconds": times.training,
                "step_seconds": times.period,
                "replicas": replicas,
                "teacher_gpus": replicas * replica,
                "cache_gib": model.cache_bytes * (length + work.prompt_tokens) / 2**30,
            }
        )
    return rows


def traffic(measured: dict[str, Any]) -> Rows:
    return [
        {"response_tokens": length, "top_k": int(k), "bytes": found, "total": sum(found.values())}
        for length, (k, size) in product((4_096, 12_288), measured["answer_bytes"].items())
        for found in [bytes_of_step(Workload(response_tokens=length), size, 4, measured["sampled_bytes"])]
    ]


def sensitivity() -> Rows:
    """GPU-hours of the best 16 GPUs at 8,192 tokens and staleness 4, with one assumption halved and doubled."""
    work = Workload()
    usual = best(work, 16, 4)
    gpus = Gpus(usual["trainer"], usual["rollout"], usual["teacher"])

    def hours(**changed: float) -> float:
        times = run(work, gpus, 4, reached=replace(USUAL, **changed))
        return work.steps * times.period / 3600 * gpus.total

    return [
        {"assumption": name, "half": hours(**{name: value / 2}), "usual": hours(), "double": hours(**{name: 2 * value})}
        for name in ("training", "prefill", "decode", "decode_step_s", "network")
        for value in [getattr(USUAL, name)]
    ]


def host(measured: dict[str, Any], rows: Rows) -> Rows:
    """Cores that alignment and credit keep busy at the speed of the fastest run of each length."""
    fastest = [
        max((row for row in rows if row["response_tokens"] == n), key=lambda row: row["tokens_per_second"])
        for n in LENGTHS
    ]
    return [
        {
            "response_tokens": row["response_tokens"],
            "tokens_per_second": row["tokens_per_second"],
            "cores": row["tokens_per_second"] * measured["host_seconds"],
        }
        for row in fastest
    ]


def fits(models: tuple[Model, ...] = (LLAMA_8B, QWEN_7B)) -> Rows:
    """The fewest GPUs that train a student."""
    rows = []
    for model in models:
        count = 1
        while model.parameters * STATE_BYTES > 0.8 * count * H100.memory:
            count += 1
        seconds = training_seconds(Workload(student=model), count)
        rows.append(
            {"student": model.name, "state_gb": model.parameters * STATE_BYTES / 1e9, "gpus": count, "seconds": seconds}
        )
    return rows


def everything() -> dict[str, Rows]:
    measured = json.loads((RESULTS / "scaling_measured.json").read_text())
    paper = of_paper()
    return {
        "paper": paper,
        "teachers": teachers(),
        "traffic": traffic(measured),
        "sensitivity": sensitivity(),
        "host": host(measured, paper),
        "fits": fits(),
    }
