"""Learning rates that are far off, and models that may be swapped."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from crossdistill.inspection.starting_values import STARTING_VALUES
from crossdistill.train.preflight.sizes import num_weights, rate_findings, swap_findings
from tests.train.harness import arguments

ROOT = Path(__file__).parents[3]
LARGE, SMALL = 8_000_000_000, 135_000_000


def rated(rate, size, is_lora=False, optim="adamw_torch_fused"):
    args = SimpleNamespace(learning_rate=rate, optim=optim)
    return [finding.message for finding in rate_findings(args, size, is_lora)]


def test_rates_that_are_far_off():
    assert rated(1e-6, SMALL) == [
        "learning_rate = 1e-06 is 1/100 of 0.0001, the lowest that is known for a student of about 135M weights "
        "(docs/starting.md): begin with 0.0001, unless you have tried yours."
    ]
    assert rated(1e-3, LARGE) == [
        "learning_rate = 0.001 is 20 times 5e-05, the highest that is known for a student of about 8.0B weights "
        "(docs/starting.md): begin with 1e-06, unless you have tried yours."
    ]
    [found] = rated(1e-6, LARGE, is_lora=True)
    assert "for an adapter of a student of about 8.0B weights" in found and "begin with 0.0001" in found


@pytest.mark.parametrize("values", STARTING_VALUES, ids=lambda values: values.pair)
def test_known_rates_and_those_within_ten_times_are_not_mentioned(values):
    size = LARGE if values.is_large else SMALL
    for factor in (0.1, 0.3, 1, 3, 10):
        assert rated(factor * values.learning_rate, size, values.rank is not None) == []


@pytest.mark.parametrize(("name", "size"), [
    ("gemma3-under-smollm2", 268_000_000), ("smollm2-under-gemma3", 135_000_000), ("served-teacher", 1_000_000_000),
])  # fmt: skip
def test_the_rates_of_recipes_are_not_mentioned(name, size):
    recipe = tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text())
    assert rated(recipe["train"]["learning_rate"], size, "lora" in recipe) == []


@pytest.mark.parametrize("optim", ["sgd", "adafactor", "lion_8bit", "lomo"])
def test_rates_of_other_optimizers_are_not_known(optim):
    assert rated(1.0, SMALL, optim=optim) == []


def test_of_the_smallest_students_no_rate_is_known():
    assert rated(0.1, 100_000) == []


def test_the_default_configuration_has_an_optimizer_whose_rates_are_known(output):
    args = arguments(output, learning_rate=1.0)
    assert len(list(rate_findings(args, SMALL, is_lora=False))) == 1


def test_a_student_that_is_larger_than_its_teacher():
    [found] = swap_findings(8 * 10**9, {"teacher": 135 * 10**6})
    assert found.message == (
        "the student has 8.0B weights and the teacher 135M: if the two were swapped, name them the other way round."
    )
    recipe = {"teacher": 134_515_008}  # SmolLM2 teaches Gemma-3-270M in one of them
    assert list(swap_findings(268_098_176, recipe)) == []
    assert list(swap_findings(10**9, {"teacher": 8 * 10**9, "teacher 'b'": 10**9})) == []


def test_weights_are_counted_without_being_read(weightless_pair):
    folder, model = weightless_pair
    assert num_weights(folder) == sum(weight.numel() for weight in model.parameters())
    assert num_weights(model) == num_weights(folder)
    assert num_weights("http://there:8000") is None
    assert num_weights("/no/such/folder") is None


@pytest.fixture
def weightless_pair(tmp_path):
    from tests.models import student_model, student_tokenizer

    model = student_model(student_tokenizer())
    model.config.save_pretrained(tmp_path / "model")
    assert all(weight.device == torch.device("cpu") for weight in model.parameters())
    return str(tmp_path / "model"), model
