"""Multimodal checkpoints are trained and teach on text alone, by their own class on both sides."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crossdistill.errors import InputError
from crossdistill.inspection import inspect_pair
from crossdistill.inspection.model_pair import read_pair
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.sft import check_has_backbone, sft
from crossdistill.train.loading import load_model
from crossdistill.train.preflight.weights import check_weights
from tests import multimodal
from tests.models import TEXTS, Pair, student_tokenizer, teacher_tokenizer
from tests.train.harness import make_trainer
from tests.train.test_distributed import ACCELERATE, ROOT

NAMES = [pytest.param(name, marks=() if name == "mistral3" else pytest.mark.slow) for name in multimodal.BUILDERS]
ALONE = {"weight_decay": 0.1, "low_coverage": "ignore"}


def tower(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {name: value for name, value in weights.items() if "vis" in name or "projector" in name}
    assert found
    return found


@pytest.mark.parametrize("name", multimodal.BUILDERS)
def test_its_own_class_loads_it(name: str, tmp_path: Path) -> None:
    folder = multimodal.save(name, teacher_tokenizer(), tmp_path)
    check_weights("teacher", folder, {})
    model = load_model("the teacher", folder, {})
    assert type(model) is type(multimodal.build(name, teacher_tokenizer()))


@pytest.mark.parametrize("name", NAMES)
def test_as_a_student(name: str, pair: Pair, tmp_path: Path, output: Path) -> None:
    folder = multimodal.save(name, student_tokenizer(), tmp_path)
    trainer = make_trainer(pair, output, student=folder, max_steps=1, **ALONE)
    trainer.train()
    assert trainer.steps[0]["ratio"] == pytest.approx(1, abs=1e-3)
    before, after = trainer.weights[0], trainer.weights[-1]
    assert all(torch.equal(value, after[key]) for key, value in tower(before).items())
    assert any(not torch.equal(value, after[key]) for key, value in before.items())
    (finding,) = (found for found in trainer.findings.findings if found.kind.name == "parts_that_no_text_reaches")
    assert "text reaches all of it but " in finding.message
    trainer.save_model(str(output / "model"))
    saved, original = (load_file(Path(at) / "model.safetensors") for at in (output / "model", folder))
    assert saved.keys() == original.keys()


@pytest.mark.parametrize("name", NAMES)
def test_as_a_teacher(name: str, pair: Pair, tmp_path: Path, output: Path) -> None:
    folder = multimodal.save(name, teacher_tokenizer(), tmp_path)
    trainer = make_trainer(pair, output, teacher=folder, max_steps=1, **ALONE)
    trainer.train()
    (score,) = (item for item in trainer.score_prompts(["one two"]))
    assert trainer.teacher.model.__class__.__name__.endswith("ForConditionalGeneration")
    assert score.gap_nats != 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(multimodal.BUILDERS.keys() - {"llama4"}))
def test_in_a_warm_start(name: str, tmp_path: Path) -> None:
    student = multimodal.save(name, student_tokenizer(), tmp_path / "student")
    teacher = multimodal.save(name, teacher_tokenizer(), tmp_path / "teacher")
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    settings: dict[str, Any] = {"max_steps": 1, "use_cpu": True, "bf16": False, "weight_decay": 0.1}
    config = SFTRunConfig(
        student=student, teacher=teacher, dataset=str(data), temperature=1.0, max_new_tokens=60, train=settings,
    )  # fmt: skip
    run = sft(config, tmp_path / "run")
    assert run["num_examples"] > 0
    saved, original = (load_file(Path(at) / "model.safetensors") for at in (tmp_path / "run" / "model", student))
    assert all(torch.equal(value, saved[key]) for key, value in tower(original).items())


def test_a_warm_start_needs_a_part_without_its_head() -> None:
    check_has_backbone(multimodal.build("llava", student_tokenizer()))
    with pytest.raises(
        InputError, match="Llama4ForConditionalGeneration has no part without its head, which TRL's SFT"
    ):
        check_has_backbone(multimodal.build("llama4", student_tokenizer()))


@pytest.mark.slow
def test_in_two_processes(pair: Pair, tmp_path: Path) -> None:
    """DDP waits for the gradient of every parameter unless it is told that some get none."""
    folder = multimodal.save("mistral3", student_tokenizer(), tmp_path / "student")
    command = (sys.executable, *ACCELERATE, "-m", "tests.train.multimodal_run", folder, pair.teacher, str(tmp_path))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    assert json.loads((tmp_path / "result.json").read_text()) == {"processes": 2, "steps": 2}


def test_inspected(pair: Pair, tmp_path: Path) -> None:
    folder = multimodal.save("mistral3", teacher_tokenizer(), tmp_path)
    found = inspect_pair(*read_pair(pair.student, folder))
    assert found.teacher.ids == len(teacher_tokenizer()) + 4
    assert found.teacher.context == multimodal.TEXT["max_position_embeddings"]
