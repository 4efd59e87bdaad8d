"""Whole runs: what they leave behind, and that an interrupted one ends bit for bit as if nothing had happened."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crossdistill import InputError
from crossdistill.runs import train as runs
from crossdistill.runs.config import RunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.identity import identity
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.run_file import read_run
from crossdistill.runs.train import train
from crossdistill.train.checkpoint import Contents
from tests.models import MESSAGES, Pair

STEPS = 16  # of two prompts' batches an epoch, on each of which two steps are made
TRAIN = {
    "max_steps": STEPS,
    "num_iterations": 2,
    "per_device_train_batch_size": 4,
    "max_completion_length": 12,
    "learning_rate": 1e-3,
    "save_steps": 2,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
}


def config(pair: Pair, data: str, **train_options: Any) -> RunConfig:
    return RunConfig(
        student=pair.student,
        teacher=pair.teacher,
        dataset=data,
        eval_dataset=data,
        train={**TRAIN, **train_options},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    return str(path)


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions."""
    run = read_run(folder)
    state = json.loads((folder / "checkpoints" / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    steps = [entry for entry in state["log_history"] if "loss" in entry]
    return {
        "losses": [(entry["step"], entry["loss"], entry["grad_norm"], entry["ratio"]) for entry in steps],
        "metrics": run["metrics"],
        "tokens": run["tokens"],
        "coverage": run["coverage"],
    }


@pytest.fixture(scope="module")
def interrupted(pair: Pair, data: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two runs in processes of their own, stopped after a checkpoint by SIGTERM and by SIGKILL."""
    folder = tmp_path_factory.mktemp("interrupted")
    chosen = config(pair, data)
    named = ("--student", chosen.student, "--teacher", chosen.teacher, "--dataset", data, "--eval-dataset", data)
    overrides = [f"--set=train.{key}={json.dumps(value)}" for key, value in TRAIN.items()]
    program = "from crossdistill.cli import main; main()"
    processes = {
        number: subprocess.Popen(
            [sys.executable, "-c", program, "train", "--output", str(folder / number.name), *named, *overrides],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for number in (signal.SIGTERM, signal.SIGKILL)
    }
    waiting = dict(processes)
    deadline = time.monotonic() + 300
    while waiting and time.monotonic() < deadline:
        for number, process in list(waiting.items()):
            assert process.poll() is None, process.communicate()[1][-3000:]
            if RunFolder(folder / number.name).latest_checkpoint(Contents()) is not None:
                process.send_signal(number)
                del waiting[number]
        time.sleep(0.01)
    errors = {number: process.communicate(timeout=180)[1] for number, process in processes.items()}
    codes = {number: process.returncode for number, process in processes.items()}
    return {"folder": folder, "codes": codes, "errors": errors}


@pytest.fixture(scope="module")
def whole(pair: Pair, data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config(pair, data), folder)
    return folder


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(interrupted):
    checkpoint = RunFolder(interrupted["folder"] / "SIGTERM").latest_checkpoint(Contents())
    step = int(checkpoint.name.split("-")[1])
    assert 0 < step < STEPS
    assert step % 2 == 0  # between two batches of rollouts
    assert interrupted["codes"][signal.SIGTERM] == 128 + signal.SIGTERM
    message = f"stopped by SIGTERM after step {step}"
    assert message in interrupted["errors"][signal.SIGTERM]
    assert not (interrupted["folder"] / "SIGTERM" / "model").exists()


@pytest.mark.slow
def test_sigkill_kills(interrupted):
    assert interrupted["codes"][signal.SIGKILL] == -signal.SIGKILL
    assert not (interrupted["folder"] / "SIGKILL" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_an_interrupted_run_ends_as_the_whole_one(pair, data, whole, interrupted, name):
    folder = interrupted["folder"] / name
    if name == "SIGKILL":  # as if it had been killed while it wrote another one
        (folder / "checkpoints" / "checkpoint-999").mkdir()
    began = int(RunFolder(folder).latest_checkpoint(Contents()).name.split("-")[1])
    trainer, _ = train(config(pair, data), folder, resume=True)
    assert trainer._step == STEPS - began  # it did go on, and not begin again
    assert outcome(folder) == outcome(whole)
    weights, expected = (load_file(path / "model" / "model.safetensors") for path in (folder, whole))
    assert weights.keys() == expected.keys()
    for key, value in weights.items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    "step", [12, pytest.param(14, marks=pytest.mark.slow)]
)  # the end of the third epoch and the middle of the fourth
def test_resuming_after_the_first_epoch(pair, data, whole, tmp_path, step):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    for later in range(step + 2, STEPS + 1, 2):
        shutil.rmtree(folder.checkpoints / f"checkpoint-{later}")
    folder.run.unlink()
    trainer, _ = train(config(pair, data), folder.path, resume=True)
    assert trainer._step == STEPS - step
    assert outcome(folder.path) == outcome(whole)


@pytest.mark.slow
def test_resuming_a_run_that_was_stopped_in_its_last_evaluation(pair, data, whole, tmp_path):
    """All steps were made: none is made again."""
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    folder.run.unlink()
    shutil.rmtree(folder.model)
    trainer, _ = train(config(pair, data), folder.path, resume=True)
    assert trainer._step == 0
    assert trainer.state.global_step == STEPS
    assert outcome(folder.path) == outcome(whole)
    assert {path.name for path in folder.checkpoints.iterdir()} == {
        path.name for path in RunFolder(whole).checkpoints.iterdir()
    }


def test_what_a_run_leaves_behind(pair, data, whole):
    run = read_run(whole)
    assert run["objective"] == "dpca"
    assert (run["student"], run["teacher"], run["seed"]) == (pair.student, pair.teacher, 42)
    assert run["config"] == config(pair, data).model_dump(mode="json")
    assert json.loads((whole / "config.json").read_text()) == identity(config(pair, data))
    assert {"crossdistill", "torch", "trl"} <= run["versions"].keys()
    assert run["coverage"]["supervised_bytes"] == run["coverage"]["sampled_bytes"] > 0
    assert run["flops"]["total"] == sum(value for part, value in run["flops"].items() if part != "total") > 0
    assert run["seconds"] > 0
    before, after = run["metrics"]["before"], run["metrics"]["after"]
    assert before == json.loads((whole / "before.json").read_text())
    for metric in (before, after):
        assert metric["ci"][0] < metric["mean"] < metric["ci"][1]
        assert metric["n"] == len(MESSAGES)
    assert before["mean"] != after["mean"]
    report = (whole / "report.html").read_text()
    assert "dpca" in report
    assert report.count("<svg") > 0
    card = (whole / "model" / "README.md").read_text()
    assert f"student before | {before['mean']:.3f} | {before['ci'][0]:.3f} to {before['ci'][1]:.3f} |" in card
    assert f"student after | {after['mean']:.3f} |" in card
    assert '"num_iterations": 2' in card  # its run file
    newest = (whole / "checkpoints" / f"checkpoint-{STEPS}" / "README.md").read_text()
    assert "student before" in newest
    assert "student after" not in newest  # it is saved before that evaluation


@pytest.mark.slow
def test_a_run_without_evaluation_samples_alike(pair, data, whole, tmp_path):
    chosen = config(pair, data, max_steps=2, save_strategy="no").model_copy(update={"eval_dataset": None})
    trainer, run = train(chosen, tmp_path / "run")
    assert "metrics" not in run
    assert trainer.state.log_history[0]["loss"] == outcome(whole)["losses"][0][1]


@pytest.mark.slow
def test_lora(pair, data, tmp_path):
    lora = {"r": 2, "target_modules": ["q_proj"]}
    chosen = config(pair, data, max_steps=2).model_copy(update={"lora": lora})
    train(chosen, tmp_path / "run")
    assert (tmp_path / "run" / "model" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_target_modules_that_match_nothing_are_bad_input(pair, data, tmp_path):
    chosen = config(pair, data).model_copy(update={"lora": {"r": 2, "target_modules": ["nope"]}})
    with pytest.raises(InputError, match=r"the run cannot be set up: .*nope"):
        train(chosen, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_student_that_says_nothing_has_no_gap(pair, data, tmp_path, monkeypatch):
    """Stop tokens alone have no bytes: the figure is absent, and the run ends all the same."""

    class Silent(runs.CrossTokenizerTrainer):
        def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
            return [[self.processing_class.eos_token_id] for _ in prompt_ids]

    monkeypatch.setattr(runs, "CrossTokenizerTrainer", Silent)
    train(config(pair, data, max_steps=2), tmp_path / "run")
    assert read_run(tmp_path / "run")["metrics"]["after"] == {"mean": None, "ci": None, "n": len(MESSAGES)}
    assert (tmp_path / "run" / "report.html").exists()


def test_a_signal_ends_the_evaluation_before_training(pair, data, tmp_path, monkeypatch):
    class Signalled(runs.CrossTokenizerTrainer):
        def prediction_step(self, *args, **kwargs):
            signal.raise_signal(signal.SIGTERM)
            return super().prediction_step(*args, **kwargs)

    monkeypatch.setattr(runs, "CrossTokenizerTrainer", Signalled)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 0"):
        train(config(pair, data, max_steps=2, per_device_eval_batch_size=1), tmp_path / "run")
    assert not (tmp_path / "run" / "before.json").exists()


def test_the_evaluation_before_training_is_no_time_of_training(pair, data, tmp_path, monkeypatch):
    class Slow(runs.CrossTokenizerTrainer):
        def evaluate(self, *args, **kwargs):
            self.usage._began_at -= 1000
            return super().evaluate(*args, **kwargs)

    monkeypatch.setattr(runs, "CrossTokenizerTrainer", Slow)
    _, run = train(config(pair, data, max_steps=1), tmp_path / "run")
    assert run["seconds"] < 500


def test_a_refused_run_leaves_the_folder_free(pair, data, tmp_path):
    with pytest.raises(InputError, match="does not fit the student's context"):
        train(config(pair, data, max_completion_length=500), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.iterdir())


def test_without_the_extra_report_a_run_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "missing", lambda extra: ["matplotlib"] if extra == "report" else [])
    folder = RunFolder(tmp_path)
    runs.write_report_if_possible(folder, {"history": []}, [])
    assert not folder.report.exists()
    assert capsys.readouterr().out == (
        "no report.html was written, because matplotlib is not installed: pip install 'crossdistill[report]'\n"
    )
    monkeypatch.undo()
    runs.write_report_if_possible(folder, {"history": []}, [])
    assert folder.report.exists()


def test_stop_on_signal_restores_the_handlers():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopOnSignal()
    with stop:
        assert signal.getsignal(signal.SIGTERM) == stop._receive
        signal.raise_signal(signal.SIGTERM)
        assert stop.received is signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before  # the next one has its ordinary effect
    with pytest.raises(ZeroDivisionError), stop:
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) == before
