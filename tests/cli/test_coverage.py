"""A run whose coverage is low stops with one sentence, continues with other settings, and leaves its samples."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossdistill.align import DropReason
from crossdistill.inspection import minimum_coverage
from crossdistill.runs.run_file import SAMPLES_FILE, read_run
from crossdistill.teachers import LocalTeacher
from crossdistill.train.monitor import coverage_guard
from tests.cli.harness import Result, run
from tests.models import MESSAGES, Pair

TRAIN = {
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "max_completion_length": 8,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
}


def train(pair: Pair, folder: Path, *options: str) -> Result:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    named = ("--student", pair.student, "--teacher", pair.teacher, "--dataset", str(folder / "rows.jsonl"))
    overrides = [f"--set=train.{key}={json.dumps(value)}" for key, value in TRAIN.items()]
    return run("train", "--output", str(folder / "output"), *named, *overrides, *options)


@pytest.mark.slow
def test_a_run_below_its_minimum_coverage(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage_guard, "MIN_BYTES", 1)
    monkeypatch.setattr(coverage_guard, "MIN_ROLLOUTS", 2)
    with monkeypatch.context() as patch:
        patch.setattr(LocalTeacher, "score", no_score)
        stopped = train(pair, tmp_path)
    assert stopped.code == 2
    assert "the run stopped after a checkpoint at step 2: the teacher supervised 0.0%" in stopped.err
    assert "Traceback" not in stopped.err
    output = tmp_path / "output"
    assert not (output / "run.json").exists()

    again = train(pair, tmp_path, "--resume", '--set=train.low_coverage="ignore"', "--set=train.min_coverage=0.5")
    assert again.code == 0, again.err
    coverage = read_run(output)["coverage"]
    assert coverage["promised"] == 1.0
    assert (coverage["minimum"], coverage["low_coverage"]) == (0.5, "ignore")
    assert coverage["dropped"]["non_finite"] > 0
    assert "Expected of this pair" in (output / "report.html").read_text()

    rows = [json.loads(line) for line in (output / SAMPLES_FILE).read_text().splitlines()]
    assert [row["prompt"] for row in rows] == MESSAGES[:3]
    for row in rows:
        assert base64.b64decode(row["bytes"]).decode("utf-8", "backslashreplace") == row["response"]
    shown = [json.loads(line) for line in run("align", "--run", str(output), "--json").out.splitlines()]
    assert shown == [row["view"] for row in rows]
    anew = run("align", pair.student, pair.teacher, "--run", str(output), "--json")
    assert len(anew.out.splitlines()) == 3
    ids = run("align", pair.student, pair.teacher, "--responses", str(output / SAMPLES_FILE), "--json")
    for line, row in zip(ids.out.splitlines(), rows, strict=True):
        assert chunks(json.loads(line)) == chunks(row["view"])
    assert minimum_coverage(coverage["promised"]) == 0.95


def no_score(teacher: LocalTeacher, requests: Sequence[object], *_: object) -> list[DropReason]:
    return [DropReason.NON_FINITE] * len(requests)


def chunks(view: dict) -> list[tuple[str, list[str], list[str]]]:
    """Text and tokens of each chunk, without scores; a stop is not a chunk of text."""
    return [
        (chunk["text"], *([token["text"] for token in chunk[side]] for side in ("student", "teacher")))
        for chunk in view["chunks"]
        if chunk["kind"] != "stop"
    ]
