"""Loggers: every figure of a run in one place, below its folder, read back."""

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossdistill.runs.config import RunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.train import train
from tests.models import MESSAGES, Pair
from tests.runs.parity_task import PATH
from tests.train.harness import make_trainer, rows

STEPS = 4
FIGURES = ("train/loss", "train/teacher_gap", "train/coverage", "train/tokens_per_second")
FOLDERS = ("WANDB_DIR", "TENSORBOARD_LOGGING_DIR", "TRACKIO_DIR")
TRACKIO_RUNS = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = trackio.Api().runs("huggingface")
print(json.dumps([SQLiteStorage.get_logs("huggingface", run.name) for run in runs]))
"""
LOGGERS = [name for name in ("tensorboard", "wandb", "trackio") if importlib.util.find_spec(name) is not None]


def needs(logger: str) -> pytest.MarkDecorator:
    reason = f"{logger} is not installed: pip install --group loggers"
    return pytest.mark.skipif(logger not in LOGGERS, reason=reason)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    return place


@pytest.fixture(scope="module")
def logged(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every logger that is installed, begun in an empty folder; its folder is `run` beside that.

    It has a process of its own, since trackio reads where it writes as it is imported.
    """
    folder = tmp_path_factory.mktemp("logged")
    (folder / "here").mkdir()
    settings = config(pair, folder, LOGGERS).model_dump(mode="json", exclude_unset=True)
    given = [f"--set={key}={json.dumps(value)}" for key, value in flat(settings)]
    in_python("-m", "crossdistill", "train", *given, "--output", str(folder / "run"), here=folder / "here")
    return folder


def flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys, with dots, and values of a table of tables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in flat(value))
        else:
            yield key, value


def in_python(*arguments: str, here: Path, **variables: str) -> str:
    """What a Python of its own prints, whose loggers have no folders but those in `variables`."""
    kept = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.getenv("PYTHONPATH")]))
    environment = {**kept, "PYTHONPATH": path, "WANDB_MODE": "offline", **variables}
    ended = subprocess.run(
        [sys.executable, *arguments], check=False, cwd=here, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def config(pair: Pair, folder: Path, loggers: list[str], steps: int = STEPS) -> RunConfig:
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    return RunConfig(
        student=pair.student,
        teacher=pair.teacher,
        dataset=str(data),
        eval_dataset=str(data),
        eval_rows=2,
        eval_tasks={"parity": {"task": PATH}},
        eval_every=2,
        train={
            "max_steps": steps,
            "per_device_train_batch_size": 4,
            "max_completion_length": 8,
            "lr_scheduler_type": "constant",
            "eval_strategy": "steps",
            "eval_steps": 2,
            "logging_steps": 1,
            "save_steps": 2,
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "report_to": loggers,
        },
    )


def check(curves: dict[str, list[int]], steps: int = STEPS) -> None:
    """Steps of each curve: of all figures and evaluations, in order."""
    for name in FIGURES:
        assert curves[name] == list(range(1, steps + 1)), name
    assert curves["eval/parity/accuracy"] == list(range(0, steps + 1, 2))
    assert sorted({*curves["eval/teacher_gap"]}) == list(range(0, steps + 1, 2))


def events(folder: Path) -> dict[str, list[int]]:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [event.step for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_nothing_is_written_to_the_current_folder(logged):
    assert not list((logged / "here").iterdir())


def test_tensorboard_has_one_folder(logged):
    place = logged / "run" / "logs" / "tensorboard"
    assert {path.parent for path in logged.rglob("events.out*")} == {place}
    check(events(place))


def test_tensorboard_has_one_folder_of_a_run_that_is_resumed(pair, logged, tmp_path, here):
    output = tmp_path / "run"
    shutil.copytree(logged / "run", output)
    for last in (output / "checkpoints" / f"checkpoint-{STEPS}", RunFolder(output).evaluation(STEPS)):
        shutil.rmtree(last)  # as if it had been killed before them
    RunFolder(output).run.unlink()
    train(config(pair, logged, ["tensorboard"], steps=6), output, resume=True)
    check(events(output / "logs" / "tensorboard"), steps=6)
    assert not list(here.iterdir())


def test_from_python_an_evaluation_before_training_is_logged_to_the_output_folder(pair, tmp_path, here):
    options: dict[str, Any] = {"max_steps": 1, "report_to": "tensorboard"}
    trainer = make_trainer(pair, tmp_path / "out", **options, trainer_options={"eval_dataset": rows(MESSAGES[:2])})
    trainer.evaluate()
    trainer.train()
    assert len({path.parent for path in (tmp_path / "out").rglob("events.out*")}) == 1
    assert not list(here.iterdir())


@needs("wandb")
def test_wandb_has_one_run(logged):
    [path] = (logged / "run" / "logs" / "wandb").glob("offline-run-*/*.wandb")
    check(curves_of(wandb_entries(path)))


@needs("trackio")
def test_trackio_has_one_run(logged):
    place = logged / "run" / "logs" / "trackio"
    [entries] = json.loads(in_python("-c", TRACKIO_RUNS, here=logged, TRACKIO_DIR=str(place)))
    check(curves_of(entries))


def curves_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Name of each figure -> the steps at which it was logged."""
    curves: dict[str, list[int]] = {}
    for entry in entries:
        if "train/global_step" not in entry:  # TRL's own timings
            continue
        for name in entry.keys() - {"train/global_step"}:
            curves.setdefault(name, []).append(int(entry["train/global_step"]))
    return curves


def wandb_entries(path: Path) -> Iterator[dict[str, Any]]:
    """What was logged, from a file of Weights & Biases: protocol buffers in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    for data in leveldb_records(path.read_bytes(), skipped=7):
        record = Record()
        record.ParseFromString(data)
        if record.history.item:
            items = record.history.item
            yield {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def leveldb_records(content: bytes, skipped: int, block: int = 32_768) -> Iterator[bytes]:
    """Records, each of which may go on in the next blocks; `skipped` bytes at the start are a header."""
    place, whole, header, (full, last) = skipped, b"", 7, (1, 4)
    while place + header <= len(content):
        if block - place % block < header:  # too little room for a header is padding
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + header : place + header + length]
        place += header + length
        if kind in (full, last):
            yield whole
            whole = b""
