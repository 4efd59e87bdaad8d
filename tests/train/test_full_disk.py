"""A disk that fills up: one error, no half-written checkpoint, and a run that can be resumed."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import TrainerCallback, TrainerState

from crossdistill.errors import OutOfSpaceError
from crossdistill.train.monitor.usage import Usage
from tests.models import Pair
from tests.train.harness import RecordingTrainer, fast_for, make_trainer

STEPS = 4
SAVING = {"save_strategy": "steps", "save_steps": 1, "max_steps": STEPS}
FULL = OSError(errno.ENOSPC, "No space left on device")


def fails_at(call: int, function: Callable[..., Any], error: BaseException = FULL) -> Callable[..., Any]:
    """A function that raises at its `call`-th call, after it has done its work in part."""
    calls = 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return function(*args, **kwargs)

    return failing


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def figures(trainer: RecordingTrainer) -> list[Any]:
    return [(entry["step"], entry["loss"], entry["grad_norm"], entry["teacher_gap"]) for entry in trainer.steps]


@pytest.fixture(scope="module")
def undisturbed(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> RecordingTrainer:
    trainer = make_trainer(pair, tmp_path_factory.mktemp("undisturbed"), **SAVING)
    trainer.train()
    return trainer


WRITERS = {
    "our own state": (Usage, "save"),
    "weights": (transformers.Trainer, "_save"),
    "optimizer": (transformers.Trainer, "_save_optimizer_and_scheduler"),
    "random state": (transformers.Trainer, "_save_rng_state"),
    "the trainer's state": (TrainerState, "save_to_json"),
}


@pytest.mark.parametrize("what", fast_for(WRITERS, ["weights"]))
def test_the_half_checkpoint_is_removed_and_the_run_resumes(pair, tmp_path, monkeypatch, undisturbed, what):
    owner, name = WRITERS[what]
    trainer = make_trainer(pair, tmp_path, **SAVING, save_total_limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails_at(3, getattr(owner, name)))
        with pytest.raises(OutOfSpaceError, match=f"no space is left on the disk of {tmp_path} .*: make room there"):
            trainer.train()
    assert checkpoints(tmp_path) == ["checkpoint-2"]
    resumed = make_trainer(pair, tmp_path, **SAVING, save_total_limit=1)
    resumed.train(resume_from_checkpoint=True)
    assert resumed._step == STEPS - 2
    assert figures(resumed) == figures(undisturbed)
    for name, weight in undisturbed.weights[-1].items():
        assert torch.equal(resumed.weights[-1][name], weight)


def test_other_errors_leave_the_checkpoint_as_it_is(pair, tmp_path, monkeypatch):
    broken = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(TrainerState, "save_to_json", fails_at(1, TrainerState.save_to_json, broken))
    with pytest.raises(OSError, match="Input/output error"):
        make_trainer(pair, tmp_path, **SAVING).train()
    assert checkpoints(tmp_path) == ["checkpoint-1"]


class FailsToLog(TrainerCallback):
    def on_log(self, *args: Any, **kwargs: Any) -> None:
        raise FULL


def test_a_logger_without_room(pair, tmp_path):
    trainer = make_trainer(pair, tmp_path, trainer_options={"callbacks": [FailsToLog()]})
    with pytest.raises(OutOfSpaceError, match="make room there"):
        trainer.train()


def test_a_model_that_does_not_fit(pair, tmp_path, monkeypatch):
    trainer = make_trainer(pair, tmp_path / "out")
    monkeypatch.setattr(torch, "save", fails_at(1, torch.save))
    with pytest.raises(OutOfSpaceError, match=f"{tmp_path}/model"):
        trainer.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    trainer.save_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").exists()


# ---- a disk that is really full -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of a size, or gives it another one."""
    folder = tmp_path / "small"
    folder.mkdir()

    def resize(size: str) -> Path:
        options = f"remount,size={size}" if folder.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("a file system can be mounted by root only")
        return folder

    yield resize
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("share", [pytest.param(0.02, marks=pytest.mark.slow), 0.9])
def test_a_full_disk(pair, tmp_path, small_disk, undisturbed, share):
    """The first checkpoint fits, and a share of the second one."""
    if not shutil.which("mount"):
        pytest.skip("there is no mount")
    whole = size_of(Path(undisturbed.args.output_dir) / "checkpoint-2")
    folder = small_disk(f"{int(whole * (1 + share)) + 100_000}")
    with pytest.raises(OutOfSpaceError, match="no space is left on the disk of"):
        make_trainer(pair, folder, **SAVING).train()
    assert checkpoints(folder) == ["checkpoint-1"]
    small_disk(f"{10 * whole}")
    resumed = make_trainer(pair, folder, **SAVING)
    resumed.train(resume_from_checkpoint=True)
    assert figures(resumed) == figures(undisturbed)
