"""Where a run computes if nothing says so."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdistill.runs.sft import sft_arguments
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.preflight.device import (
    ON_CPU,
    SLOW_BFLOAT16,
    cpu_options,
    device_findings,
    multiplies_bfloat16,
)
from tests.models import Pair
from tests.train.harness import make_trainer

BF16 = {"bf16": True}


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


def config(output: Path, **options: Any) -> Any:
    return CrossTokenizerConfig(str(output), report_to="none", **options)


def sft_config(output: Path, **options: Any) -> Any:
    return sft_arguments(output, options)


@pytest.mark.parametrize("make", [config, sft_config])
@pytest.mark.parametrize(
    ("options", "precision"), [({}, "no"), (BF16, "bf16"), ({"use_cpu": True, "bf16": False}, "no")]
)
def test_without_a_gpu_the_cpu_computes_in_float32(
    make: Any, options: dict[str, Any], precision: str, output: Path
) -> None:
    args = make(output, **options)
    assert (args.device, args.use_cpu, args.mixed_precision) == (torch.device("cpu"), True, precision)


@pytest.mark.parametrize("make", [config, sft_config])
def test_a_gpu_that_is_asked_for_must_be_there(make: Any, output: Path) -> None:
    with pytest.raises(ValueError, match="bf16"):
        make(output, use_cpu=False)


def test_with_a_gpu_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert cpu_options({}) == cpu_options(BF16) == {}


def with_cpu(monkeypatch: pytest.MonkeyPatch, machine: str, capability: str) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)


def test_what_was_chosen_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cpu(monkeypatch, "x86_64", "AVX512")
    (found,) = device_findings({}, "no")
    assert found.kind is ON_CPU
    assert "no GPU here, so this computes on the CPU, in float32" in found.message
    (found,) = device_findings(BF16, "bf16")
    assert "in bfloat16" in found.message
    assert not list(device_findings({"use_cpu": True}, "no"))


@pytest.mark.parametrize(
    ("machine", "capability", "is_fast"),
    [("x86_64", "AVX2", False), ("AMD64", "DEFAULT", False), ("x86_64", "AVX512", True), ("aarch64", "DEFAULT", True)],
)
def test_bfloat16_on_a_cpu_without_it_is_told(
    machine: str, capability: str, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cpu(monkeypatch, machine, capability)
    assert multiplies_bfloat16() is is_fast
    found = [one.kind for one in device_findings({"use_cpu": True, "bf16": True}, "bf16")]
    assert found == ([] if is_fast else [SLOW_BFLOAT16])
    assert not list(device_findings({"use_cpu": True}, "no"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert not list(device_findings({"bf16": True}, "bf16"))


@pytest.mark.parametrize("is_given", [False, True])
def test_the_trainer_says_so(is_given: bool, pair: Pair, output: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {} if is_given else {"use_cpu": None}
    with caplog.at_level(logging.WARNING, logger="crossdistill"):
        trainer = make_trainer(pair, output, **options)
    assert trainer.model.device == torch.device("cpu")
    assert ("no GPU here" in caplog.text) is not is_given
    assert (ON_CPU in [found.kind for found in trainer.findings.findings]) is not is_given
