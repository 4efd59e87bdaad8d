"""The figures of `make bench-scale`."""

import doctest

from benchmarks import scale


def rounds(*seconds: float) -> list[dict]:
    return [{"steps": [{"seconds/total": own, "seconds/rollout": own / 2}], "peak_gpu_bytes": None} for own in seconds]


def test_examples():
    assert doctest.testmod(scale).failed == 0


def test_all_steps_of_all_rounds_count():
    row = scale.summary(("zero3", 2), rounds(4.0, 1.0, 2.0))
    assert (row["step_seconds"], row["fastest"], row["slowest"]) == (2.0, 1.0, 4.0)
    assert row["parts"] == {"total": 2.0, "rollout": 1.0}


def test_devices_that_are_no_power_of_two():
    assert [number for _, number in scale.launches(6, has_deepspeed=True)] == [1, 2, 4] * 4
    assert {engine for engine, _ in scale.launches(1, has_deepspeed=True)} == set(scale.ENGINES)
