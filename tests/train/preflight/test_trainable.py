"""A run that cannot change its student says so."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.findings import FindingError
from crossdistill.train.preflight.trainable import NOTHING_TRAINABLE, STEPS_ROUNDED_AWAY, trainable_findings
from tests.models import Pair
from tests.train.harness import arguments, make_trainer


def kinds(model: nn.Module, tmp_path: Path, **options: Any) -> list[Any]:
    return [finding.kind for finding in trainable_findings(model, arguments(tmp_path, **options))]


def student(pair: Pair, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(pair.student, dtype=dtype)


@pytest.mark.parametrize(("dtype", "rate"), [(torch.bfloat16, 1e-5), (torch.float16, 1e-6)])
def test_the_share_that_is_rounded_away_is_that_of_a_step(
    pair: Pair, tmp_path: Path, dtype: torch.dtype, rate: float
) -> None:
    model = student(pair, dtype)
    (finding,) = trainable_findings(model, arguments(tmp_path, learning_rate=rate))
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for parameter in model.parameters():
        parameter.grad = -parameter.detach().sign()  # a step away from zero
    torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0).step()
    after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    assert finding.kind is STEPS_ROUNDED_AWAY
    share = (before == after).float().mean().item()
    (told,) = re.findall(r"and ([\d.]+)% of them", finding.message)
    assert 50 < float(told) < 100
    assert float(told) == pytest.approx(100 * share, abs=0.5)  # Adam's own state is rounded as well


def test_steps_that_are_large_enough(pair: Pair, tmp_path: Path) -> None:
    assert kinds(student(pair, torch.bfloat16), tmp_path, learning_rate=1e-2) == []
    assert kinds(student(pair, torch.float32), tmp_path, learning_rate=1e-9) == []


def test_an_optimiser_that_rounds_stochastically(pair: Pair, tmp_path: Path) -> None:
    rate = {"learning_rate": 1e-6}
    model = student(pair, torch.bfloat16)
    assert kinds(model, tmp_path, **rate) == [STEPS_ROUNDED_AWAY]
    assert kinds(model, tmp_path, optim_args="bf16_stochastic_round=True", **rate) == []
    assert list(trainable_findings(model, arguments(tmp_path, **rate), is_sharded=True)) == []


def test_a_frozen_student_in_half_precision_with_trainable_weights_in_float32(pair: Pair, tmp_path: Path) -> None:
    """As with LoRA: what is frozen does not count."""
    model = student(pair, torch.bfloat16).requires_grad_(False)
    model.lm_head = nn.Linear(4, 4)
    assert kinds(model, tmp_path, learning_rate=1e-6) == []


def test_nothing_is_trainable(pair: Pair, tmp_path: Path) -> None:
    assert kinds(student(pair, torch.float32).requires_grad_(False), tmp_path) == [NOTHING_TRAINABLE]


def test_a_run_whose_student_is_frozen_is_refused(pair: Pair, tmp_path: Path) -> None:
    model = student(pair, torch.float32).requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    with pytest.raises(FindingError, match=r"none of the student's [\d,]+ weights is trainable") as error:
        make_trainer(pair, tmp_path, student=model, trainer_options={"processing_class": tokenizer})
    assert error.value.finding.kind is NOTHING_TRAINABLE
