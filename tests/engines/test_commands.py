"""``crossdistill train`` under a launcher: evaluation, signals, resuming, and a teacher that one process loses."""

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from tests.engines.cpu_deepspeed import ON_A_CPU
from tests.engines.launch import command, finish, start
from tests.engines.zero import NEEDED, ZERO

pytestmark = pytest.mark.engines
STEPS = 4
TRAIN = {
    "max_steps": STEPS,
    "logging_steps": 1,
    "save_steps": 1,
    "save_strategy": "steps",
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "max_completion_length": 12,
    "top_k": 1,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
    "activation_checkpointing": False,
    "report_to": "none",
}
SFT_SETTINGS = (
    *("max_steps", "logging_steps", "save_strategy", "save_steps", "per_device_train_batch_size"),
    *("bf16", "use_cpu", "disable_tqdm"),
)
LAUNCHES = {
    "ddp": [],
    "fsdp2": ["--fsdp_state_dict_type", "FULL_STATE_DICT"],
    "fsdp2-sharded": ["--fsdp_state_dict_type", "SHARDED_STATE_DICT"],
    "zero2": [],
    "zero3": [],
    "zero3-parts": ["--zero3_save_16bit_model", "false"],
}
NAMES = [pytest.param(name, marks=NEEDED if name.startswith("zero") else ()) for name in LAUNCHES]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [{"prompt": message(problem)} for problem in problems("train", 16, seed=3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def begin(name: str, prompts: str, output: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """A run of two processes under a launch of LAUNCHES."""
    arguments = TRAIN | (ON_A_CPU if name.startswith("zero") else {})
    program: Sequence[str] = [
        *(*command(name.partition("-")[0], 2, *LAUNCHES[name]), "-m", "tests.engines.command", "train"),
        *("--student", asset("student"), "--teacher", asset("teacher"), "--output", str(output)),
        *("--dataset", prompts, "--eval-dataset", prompts, *options),
        *(f"--set=train.{key}={json.dumps(value)}" for key, value in arguments.items()),
    ]
    return start(program, **environment)


def interrupted(process: subprocess.Popen[str], output: Path) -> str:
    """What a run says that gets SIGTERM once it has a checkpoint."""
    deadline = time.monotonic() + 300
    while not any(output.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None, process.communicate()[1][-6000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = finish(process, 120)
    assert process.returncode != 0
    return errors


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_interrupted_and_resumed(prompts, tmp_path, name):
    whole, output = tmp_path / "whole", tmp_path / "run"
    said, errors = finish(process := begin(name, prompts, whole), 600)
    assert process.returncode == 0, errors[-6000:]
    assert said.count("loading libraries") == said.count(f"model: {whole / 'model'}") == 1
    run = json.loads((whole / "run.json").read_text())
    assert run["metrics"]["before"]["n"] == run["metrics"]["after"]["n"] == 16
    assert run["metrics"]["before"]["mean"] != run["metrics"]["after"]["mean"]
    assert [entry["step"] for entry in run["history"] if "loss" in entry] == list(range(1, STEPS + 1))

    errors = interrupted(begin(name, prompts, output), output)
    assert errors.count("stopped by SIGTERM after step") == 1, errors[-6000:]
    assert "--resume continues from its checkpoint" in errors
    assert not (output / "model").exists()
    _, errors = finish(process := begin(name, prompts, output, "--resume"), 600)
    assert process.returncode == 0, errors[-6000:]
    weights, expected = (load_file(folder / "model" / "model.safetensors") for folder in (output, whole))
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-5)
    AutoModelForCausalLM.from_pretrained(output / "model")


@pytest.mark.parametrize("name", ["ddp", "fsdp2", *ZERO])
def test_a_teacher_that_one_process_loses(prompts, tmp_path, name):
    """All end, after a checkpoint, with one sentence."""
    process = begin(name, prompts, tmp_path / "run", FAULT="teacher_dies")
    _, errors = finish(process, 300)
    assert process.returncode != 0
    assert errors.count("the teacher is gone. The run stopped; --resume continues from its checkpoint") == 1
    assert (tmp_path / "run/checkpoints").exists()
    assert "exitcode  : 75" in errors


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [{"prompt": message(problem), "completion": "seven"} for problem in problems("train", 16, seed=3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def begin_sft(name: str, pairs: str, output: Path, **changes: object) -> subprocess.Popen[str]:
    settings = {key: TRAIN[key] for key in SFT_SETTINGS} | (ON_A_CPU if name.startswith("zero") else {}) | changes
    program: Sequence[str] = [
        *(*command(name.partition("-")[0], 2, *LAUNCHES[name]), "-m", "tests.engines.command", "sft"),
        *("--student", asset("student"), "--dataset", pairs, "--output", str(output)),
        *(f"--set=train.{key}={json.dumps(value)}" for key, value in settings.items()),
    ]
    return start(program)


@pytest.mark.parametrize("name", NAMES)
def test_sft_leaves_a_model_that_can_be_loaded(pairs, tmp_path, name):
    _, errors = finish(process := begin_sft(name, pairs, tmp_path), 300)
    assert process.returncode == 0, errors[-6000:]
    assert [entry["step"] for entry in json.loads((tmp_path / "run.json").read_text())["history"] if "loss" in entry]
    assert "lm_head.weight" not in load_file(tmp_path / "model/model.safetensors")  # it is the input embedding
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_sft_of_processes_that_would_each_train_by_themselves(pairs, tmp_path):
    _, errors = finish(process := begin_sft("ddp", pairs, tmp_path / "run", use_cpu=False), 300)
    assert process.returncode != 0
    assert "2 processes were launched, and accelerate lets each train by itself" in errors
    assert not (tmp_path / "run").exists()
