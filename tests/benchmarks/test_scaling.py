"""The arithmetic of the scaling simulator."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling import models, tables
from benchmarks.scaling.decode import Replica
from benchmarks.scaling.hardware import H100, USUAL
from benchmarks.scaling.models import LLAMA_8B, LLAMA_70B, QWEN3_8B, Model
from benchmarks.scaling.parts import Gpus, gpus_of_replica, sync_seconds, teacher_seconds, training_seconds
from benchmarks.scaling.pipeline import run
from benchmarks.scaling.studies import RESULTS
from benchmarks.scaling.traffic import bytes_of_step
from benchmarks.scaling.workload import Workload

WORK = Workload(response_tokens=4_096, batch=32)
GPUS = Gpus(3, 4, 1)


@pytest.mark.parametrize(
    ("model", "billions"), [(LLAMA_8B, 8.03), (QWEN3_8B, 8.19), (models.QWEN_7B, 7.62), (LLAMA_70B, 70.55)]
)
def test_parameters_are_the_published_ones(model: Model, billions: float) -> None:
    assert model.parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_token_of_llama_leaves_128_kib_in_the_cache() -> None:
    assert LLAMA_8B.cache_bytes == 128 * 1024


def test_lengths_have_the_mean_that_is_asked_for_and_keep_the_limit() -> None:
    for mean in (2_048, 12_288):
        lengths = Workload(response_tokens=mean).lengths
        assert lengths.mean() == pytest.approx(mean, rel=1e-3)
        assert lengths.max() <= 16_384
        assert (np.diff(lengths) <= 0).all()


def slow_seconds(model: Model, lengths: list[float], prompt: float) -> float:
    """One decode step after the other."""
    left, contexts, total = list(lengths), [prompt] * len(lengths), 0.0
    while left:
        read = model.bytes_served + model.cache_bytes * sum(context + 0.5 for context in contexts)
        compute = len(left) * 2 * model.matmul_parameters / (H100.flops * USUAL.prefill)
        total += max(read / (H100.bandwidth * USUAL.decode), compute) + USUAL.decode_step_s
        left = [one - 1 for one in left]
        contexts = [context + 1 for one, context in zip(left, contexts, strict=True) if one > 0]
        left = [one for one in left if one > 0]
    return total


def test_a_replica_takes_as_long_as_its_steps_one_by_one() -> None:
    lengths = [40.0, 25.0, 25.0, 3.0]
    replica = Replica(LLAMA_8B, H100, USUAL)
    for length in lengths:
        replica.add(10.0, length, 0)
    seconds = 0.0
    while len(replica.left):
        steps = replica.until_next_end()
        seconds += replica.seconds(steps)
        replica.advance(steps)
    assert seconds == pytest.approx(slow_seconds(LLAMA_8B, lengths, 10.0), rel=1e-9)
    assert replica.tokens == sum(lengths)


@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_every_token_is_sampled_once(staleness: int) -> None:
    times = run(WORK, GPUS, staleness, steps=6)
    assert times.tokens == pytest.approx(6 * WORK.lengths[::4].sum())


def test_at_staleness_0_a_step_is_the_sum_of_its_parts() -> None:
    times = run(WORK, GPUS, 0, steps=6)
    (rollout,) = {round(end - begin, 6) for begin, end in zip([0.0, *times.sent[:-1]], times.sampled, strict=True)}
    assert times.period == pytest.approx(rollout + times.teacher + times.training + times.sync)


def heavy(model: Model) -> Model:
    """As many bytes, and many more FLOPs."""
    return replace(model, total=model.parameters, active=300e9)


def test_with_much_staleness_a_step_is_its_slowest_part() -> None:
    slow_teacher = replace(WORK, teacher=heavy(QWEN3_8B))
    times = run(slow_teacher, GPUS, 8)
    assert times.period == pytest.approx(times.teacher, rel=1e-6)
    assert times.slowest == "teacher"
    few = replace(WORK, response_tokens=256, student=heavy(LLAMA_8B))
    trained = run(few, Gpus(3, 64, 64), 8)
    assert trained.period == pytest.approx(trained.training + trained.sync, rel=0.02)
    assert trained.slowest == "training"


def test_more_staleness_is_never_slower() -> None:
    periods = [run(WORK, GPUS, staleness).period for staleness in (0, 1, 2, 4, 8)]
    assert all(later <= earlier * 1.01 for earlier, later in pairwise(periods))
    assert periods[-1] < 0.7 * periods[0]


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_no_step_is_sampled_before_the_weights_that_it_may_be_sampled_with(staleness: int) -> None:
    times = run(WORK, GPUS, staleness, steps=8)
    for number in range(staleness + 1, 8):
        assert times.sampled[number] > times.sent[number - staleness - 1]
    for sampled, scored, sent in zip(times.sampled, times.scored, times.sent, strict=True):
        assert scored >= sampled + times.teacher
        assert sent >= scored + times.training + times.sync - 1e-9


def test_a_teacher_without_cost_changes_its_part_alone() -> None:
    free = replace(WORK, teacher=replace(QWEN3_8B, active=1e-3, heads=0))
    times, usual = run(free, GPUS, 0, steps=6), run(WORK, GPUS, 0, steps=6)
    assert times.teacher == pytest.approx(0.0, abs=1e-6)
    assert usual.period - times.period == pytest.approx(usual.teacher, rel=1e-6)


def test_utilisation_counts_six_flops_a_parameter_and_token() -> None:
    """As published figures do; activation checkpointing is no useful work."""
    work = replace(WORK, student=replace(LLAMA_8B, heads=0, kv_heads=0))
    flops = 6 * work.student.matmul_parameters * work.tokens
    assert training_seconds(work, 4) == pytest.approx(flops / (4 * H100.flops * USUAL.training))


def test_twice_the_gpus_halve_what_is_computed() -> None:
    assert training_seconds(WORK, 8) == pytest.approx(training_seconds(WORK, 4) / 2)
    assert teacher_seconds(WORK, 4) == pytest.approx(teacher_seconds(WORK, 2) / 2)
    assert sync_seconds(LLAMA_8B) == pytest.approx(2 * 8.03e9 / 35e9, rel=0.01)


def test_models_take_the_gpus_that_hold_them() -> None:
    assert [gpus_of_replica(model) for model in (LLAMA_8B, LLAMA_70B, models.R1)] == [1, 4, 16]
    with pytest.raises(ValueError, match=r"Llama-3\.1-8B does not train on 1 GPUs"):
        training_seconds(WORK, 1)
    with pytest.raises(ValueError, match=r"Llama-3\.3-70B needs 4 GPUs"):
        teacher_seconds(replace(WORK, teacher=LLAMA_70B), 3)


def test_bytes_add_up() -> None:
    moved = bytes_of_step(WORK, answer_bytes=100.0, replicas=4, sampled_bytes=90.0)
    assert moved["weights"] == pytest.approx(4 * 2 * LLAMA_8B.parameters)
    assert moved["answers of the teacher"] == pytest.approx(100 * (WORK.lengths.sum() + 32 * 256))
    assert moved["samples and their log-probs"] == pytest.approx(90 * WORK.lengths.sum())


def test_the_page_holds_the_tables_of_the_results() -> None:
    found: dict[str, Any] = json.loads((RESULTS / "scaling.json").read_text())
    written = {name: render(found[name]) for name, render in tables.RENDERED.items()}
    page = tables.PAGE.read_text()
    assert tables.filled(page, written) == page
