"""A full disk on the command line: one sentence, an exit code of its own, and a run that can be resumed."""

import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import typer

from crossdistill.cli.running import NO_SPACE, reporting_interruption
from crossdistill.runs import sft, train
from crossdistill.runs.run_file import read_run
from tests.cli.harness import run
from tests.models import MESSAGES, Pair

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_the_exit_code_and_the_sentence(tmp_path, capsys):
    with pytest.raises(typer.Exit) as end, reporting_interruption(tmp_path):
        raise FULL
    assert end.value.exit_code == NO_SPACE == 74
    message = capsys.readouterr().err
    assert message.startswith(f"no space is left on the disk of {tmp_path} (")
    assert message.endswith("make room there. The run stopped; nothing was trained: begin again\n")


@pytest.mark.parametrize(
    ("files", "way_out"),
    [
        (["config.json", "checkpoints/checkpoint-2/trainer_state.json"], "--resume continues from its checkpoint"),
        (["config.json"], "there is no checkpoint yet: --resume begins again"),
        (["config.json", "checkpoints/checkpoint-2/half-written"], "there is no checkpoint yet: --resume begins again"),
        (["config.json", "responses.jsonl"], "--resume begins again with the responses that it has"),
        (["events"], "nothing was trained: begin again in a new folder"),
    ],
)
def test_the_way_out_is_one(tmp_path, capsys, files, way_out):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(typer.Exit), reporting_interruption(tmp_path):
        raise FULL
    assert capsys.readouterr().err.endswith(f"{way_out}\n")


def test_other_errors_are_not_hidden(tmp_path):
    with pytest.raises(OSError, match="Input/output"), reporting_interruption(tmp_path):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("error", "is_told"), [(FULL, False), (ValueError("a mistake"), True)])
def test_a_thread_without_room_prints_no_traceback(tmp_path, capsys, monkeypatch, error, is_told):
    """TensorBoard writes in a thread, and raises the error again in the main one."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)

    def write() -> None:
        raise error

    with reporting_interruption(tmp_path):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert ("Traceback" in capsys.readouterr().err) == is_told


def fill(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """The disk is full when run.json is written."""
    write = module.write_json

    def full(path: Path, data: Any) -> None:
        if path.name == "run.json":
            raise FULL
        write(path, data)

    monkeypatch.setattr(module, "write_json", full)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_run_that_cannot_write_its_record_is_resumed(pair: Pair, tmp_path, monkeypatch, command):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": message, "completion": "a b"}) + "\n" for message in MESSAGES))
    named = ["--student", pair.student, "--dataset", str(rows), "--output", str(tmp_path / "run")]
    named += ["--teacher", pair.teacher] if command == "train" else []
    options = {"max_steps": 2, "save_steps": 1, "per_device_train_batch_size": 4, "logging_steps": 1}
    options |= {"bf16": False, "use_cpu": True}
    options |= {"max_completion_length": 8} if command == "train" else {}
    overrides = [f"--set=train.{key}={json.dumps(value)}" for key, value in options.items()]
    with monkeypatch.context() as patch:
        fill(patch, train if command == "train" else sft)
        stopped = run(command, *named, *overrides)
    assert stopped.code == NO_SPACE
    assert "no space is left" in stopped.err and "Traceback" not in stopped.err
    assert run(command, *named, *overrides, "--resume").code == 0
    assert len([entry for entry in read_run(tmp_path / "run")["history"] if "loss" in entry]) == 2
