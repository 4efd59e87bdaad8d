"""What `train` and `sft` print, line by line, and what they say of a run that is resumed."""

import json
import os
import re
import select
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from crossdistill.runs.run_file import read_run
from tests.cli.harness import Result, run
from tests.models import MESSAGES, Pair

TRAIN = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "logging_steps": 2,
    "save_steps": 2,
    "bf16": False,
    "use_cpu": True,
}
LONGEST_SILENCE_S = 10.0
NOISE = re.compile(r"Warning|it/s|%\||\r")
"""What libraries print; findings of ours are sentences."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [{"prompt": message, "completion": "Yes."} for message in MESSAGES]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def arguments(command: str, pair: Pair, data: str, output: Path, **options: object) -> list[str]:
    settings = {f"train.{key}": value for key, value in {**TRAIN, **options}.items()}
    named = ["--student", pair.student, "--dataset", data, "--output", str(output)]
    if command == "train":
        named += ["--teacher", pair.teacher, "--eval-dataset", data]
        settings |= {"train.max_completion_length": 8, "eval_rows": 2}
    settings |= {"eval_tasks.parity.task": "tests.runs.parity_task:Parity", "eval_every": 2}
    return [command, *named, *(f"--set={key}={json.dumps(value)}" for key, value in settings.items())]


def matches(lines: list[str], patterns: list[str]) -> None:
    """Each pattern is a line, in this order."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in rest), (pattern, lines)


INTERVAL = r"\(-?[\d.]+--?[\d.]+\)"
ACCURACY = rf"parity [\d.]+% {INTERVAL}"


@pytest.fixture(scope="module")
def trained(pair: Pair, data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, run(*arguments("train", pair, data, folder, report_to="tensorboard"))


def test_train_says_what_it_does_and_what_came_of_it(trained):
    folder, result = trained
    assert result.code == 0, result.err
    assert not NOISE.search(result.err)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.out)
    number = r"-?[\d.]+"
    step = rf"loss {number}  gap {number} nats/B  coverage [\d.]+%  length {number}  stopped {number}%  {number} tok/s"
    matches(
        result.out.splitlines(),
        [
            "loading libraries",
            "reading the prompts",
            "loading the student .*",
            "loading the teacher .*",
            r"student     student, [\d.]+ k parameters, all trained",
            "teacher     teacher",
            "objective   dpca: the default",
            "device      cpu, weights in float32",
            "batch       4 responses a step, of at most 8 tokens",
            r"steps       4, learning rate 0\.001 \(constant\)",
            "evaluation  teacher gap on 2 prompts, parity",
            f"output      {re.escape(str(folder))}, logged to tensorboard",
            rf"step 0/4  held-out gap {number} nats/B {INTERVAL}",
            f"step 0/4  {ACCURACY}",
            rf"step 2/4  {step}  [\d.]+ s left",
            rf"step 4/4  {step}.*",
            "saving the model",
            "writing the report",
            rf"gap {number} -> {number} nats/B {INTERVAL}, coverage .* %",
            rf"parity [\d.]+ % -> [\d.]+ % {INTERVAL}",
            r"[\d,]+ tokens trained on, [\d.]+ .?FLOP, .* of training",
            re.escape(f"model: {folder}/model   figures: {folder}/run.json   report: {folder}/report.html"),
        ],
    )


def test_sft_does_too(pair, data, output):
    result = run(*arguments("sft", pair, data, output), f"--set=eval_dataset={data}")
    assert result.code == 0, result.err
    assert not NOISE.search(result.err)
    matches(
        result.out.splitlines(),
        [
            "reading the data",
            "loading the student .*",
            r"student     student, [\d.]+ k parameters, all trained",
            r"objective   SFT on \d+ examples",
            r"evaluation  loss on \d+ rows, parity",
            rf"step 0/4  held-out loss [\d.]+ {INTERVAL}",
            f"step 0/4  {ACCURACY}",
            r"step 2/4  loss [\d.]+  token accuracy [\d.]+%.*",
            "measuring the loss on held-out rows",
            rf"held-out loss [\d.]+ -> [\d.]+ {INTERVAL}",
            re.escape(f"model: {output}/model   figures: {output}/run.json   report: {output}/report.html"),
        ],
    )


@pytest.mark.parametrize("command", ["train", "sft"])
@pytest.mark.parametrize("strategy", ["steps", "no"])
def test_a_run_shorter_than_the_steps_between_two_logs_shows_its_last(command, strategy, pair, data, output):
    options = {"max_steps": 2, "logging_steps": 10, "logging_strategy": strategy, "save_strategy": "no"}
    result = run(*arguments(command, pair, data, output, **options))
    assert result.code == 0, result.err
    shown = [line for line in result.out.splitlines() if re.match(r"step \d/2  loss", line)]
    assert [line[:8] for line in shown] == (["step 2/2"] if strategy == "steps" else [])


def test_of_a_finished_run_nothing_is_left(trained, pair, data):
    folder, _ = trained
    before = (folder / "run.json").stat().st_mtime_ns
    again = run(*arguments("train", pair, data, folder, logging_steps=1), "--resume")
    assert again.code == 0
    assert "nothing is left to do" in again.out
    assert (folder / "run.json").stat().st_mtime_ns == before


def test_a_finished_run_goes_on_if_more_is_asked_for(trained, pair, data):
    folder, _ = trained
    refused = run(*arguments("train", pair, data, folder, max_steps=2), "--resume")
    assert "train.max_steps (was 4, now 2)" in refused.message
    longer = run(*arguments("train", pair, data, folder, max_steps=6), "--resume")
    assert longer.code == 0, longer.err
    assert "was planned for" not in longer.err  # the rate is constant
    assert "resumed after step 4 of 6" in longer.out
    history = [entry["step"] for entry in read_run(folder)["history"] if "loss" in entry]
    assert history == [2, 4, 6]
    assert "nothing is left to do" in run(*arguments("train", pair, data, folder, max_steps=6), "--resume").out


def test_so_does_a_finished_warm_start(pair, data, output):
    assert run(*arguments("sft", pair, data, output)).code == 0
    longer = run(*arguments("sft", pair, data, output, max_steps=6), "--resume")
    assert longer.code == 0, longer.err
    assert "resumed after step 4 of 6" in longer.out
    assert [entry["step"] for entry in read_run(output)["history"] if "loss" in entry] == [2, 4, 6]
    assert "nothing is left to do" in run(*arguments("sft", pair, data, output, max_steps=6), "--resume").out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_run_is_never_silent_for_long(pair, data, output, command):
    """Of a process of its own, as its output comes; the start of Python aside."""
    program = "from crossdistill.cli import main; main()"
    times, last = [], b""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments(command, pair, data, output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        while select.select([process.stdout], [], [], 300)[0] and (piece := os.read(process.stdout.fileno(), 65536)):
            times.append(time.monotonic())
            last = piece
    assert process.returncode == 0, last
    silences = [later - earlier for earlier, later in pairwise(times)]
    assert max(silences) < LONGEST_SILENCE_S, sorted(silences)[-3:]
