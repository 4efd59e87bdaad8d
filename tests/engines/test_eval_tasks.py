"""The student's accuracy during a training of several processes, which does not notice it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crossdistill.demo.run import DEFAULTS, accuracy, asset, message
from crossdistill.demo.task import problems
from tests.engines.launch import finish
from tests.engines.test_commands import begin
from tests.engines.zero import NEEDED

pytestmark = pytest.mark.engines
EVAL_TASKS = (
    "--set=eval_every=2",
    "--set=eval_tasks.sums.task=crossdistill.demo.sums:Sums",
    "--set=eval_tasks.sums.limit=12",
)
NAMES = ["ddp", "fsdp2", pytest.param("zero2", marks=NEEDED)]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [{"prompt": message(problem)} for problem in problems("train", 16, seed=3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_process_evaluates_and_training_is_the_same(prompts: str, tmp_path: Path, name: str) -> None:
    for folder, options in {"with": EVAL_TASKS, "without": ()}.items():
        _, errors = finish(process := begin(name, prompts, tmp_path / folder, *options), 600)
        assert process.returncode == 0, errors[-6000:]
    points = json.loads((tmp_path / "with" / "run.json").read_text())["accuracy"]["sums"]
    assert [(point["step"], point["n"]) for point in points] == [(0, 12), (2, 12), (4, 12)]
    assert points[0]["student_tokens"] == 0 < points[1]["student_tokens"] < points[2]["student_tokens"]
    alone = accuracy(asset("student"), replace(DEFAULTS, num_test_problems=12), tmp_path / "one")
    assert points[0]["mean"] == pytest.approx(alone.mean)
    weights, expected = (load_file(tmp_path / folder / "model" / "model.safetensors") for folder in ("with", "without"))
    for key, value in expected.items():
        assert torch.equal(weights[key], value), key


@NEEDED
def test_zero3_is_refused(prompts: str, tmp_path: Path) -> None:
    _, errors = finish(process := begin("zero3", prompts, tmp_path / "run", *EVAL_TASKS), 300)
    assert process.returncode != 0
    assert "ZeRO-3 keeps a part of it in each" in errors
