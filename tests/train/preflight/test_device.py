"""Where a run computes if nothing says so."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdistill.runs.sft import sft_arguments
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.preflight.device import ON_CPU, cpu_options, device_findings
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


def test_what_was_chosen_is_said() -> None:
    (found,) = device_findings({}, "no")
    assert found.kind is ON_CPU
    assert "no GPU here, so this computes on the CPU, in float32" in found.message
    (found,) = device_findings(BF16, "bf16")
    assert "in bfloat16" in found.message
    assert not list(device_findings({"use_cpu": True}, "no"))


@pytest.mark.parametrize("is_given", [False, True])
def test_the_trainer_says_so(is_given: bool, pair: Pair, output: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {} if is_given else {"use_cpu": None}
    with caplog.at_level(logging.WARNING, logger="crossdistill"):
        trainer = make_trainer(pair, output, **options)
    assert trainer.model.device == torch.device("cpu")
    assert ("no GPU here" in caplog.text) is not is_given
    assert (ON_CPU in [found.kind for found in trainer.findings.findings]) is not is_given
