"""Whole runs with a served teacher: an outage ends one after a checkpoint, from which it can be resumed."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossdistill.cli.running import TRY_LATER
from tests.cli.harness import Result, run
from tests.models import MESSAGES, Pair
from tests.teacher_server import TeacherServer, faults
from tests.teacher_server.cases import scorer_of, tokenizer_of

KEY = "sk-quite-secret-1234"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TeacherServer]:
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with TeacherServer(scorer_of()) as running:
        yield running


def train(pair: Pair, folder: Path, url: str, *more: str, steps: int = 3) -> Result:
    return run(*arguments(pair, folder, url, *more, steps=steps))


def arguments(pair: Pair, folder: Path, url: str, *more: str, steps: int = 3) -> tuple[str, ...]:
    """The arguments of the command line."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in MESSAGES))
    named = ("--student", pair.student, "--teacher", url, "--teacher-tokenizer", pair.teacher)
    settings = {
        "max_steps": steps,
        "per_device_train_batch_size": 2,
        "max_completion_length": 8,
        "logging_steps": 1,
        "teacher_server.patience_s": 0.5,
        "use_cpu": "true",
        "bf16": "false",
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"train.{key}={value}")]
    return ("train", *named, "--dataset", str(prompts), "--output", str(folder / "run"), *sets, *more)


@pytest.mark.slow
def test_a_run_is_reported_with_its_traffic_and_without_its_key(pair, tmp_path, server):
    cache = ("--set", f"train.teacher_cache={tmp_path / 'scores'}")
    result = train(pair, tmp_path, server.url, *cache)
    assert result.code == 0, result.err
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    steps = [entry for entry in written["history"] if "loss" in entry]
    assert len(steps) == 3
    assert all(step["server/requests"] > 0 and step["coverage"] == 1 for step in steps)
    assert written["teacher"] == server.url
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in result.out + result.err


@pytest.mark.slow
def test_an_outage_ends_the_run_after_a_checkpoint_and_it_resumes(pair, tmp_path, server):
    turn, samples = tokenizer_of("sentencepiece").convert_tokens_to_ids("<turn>"), []

    def stop_after_a_while(seen):
        samples.extend([seen] * (turn in seen.ids))  # two a step, and none of the probe
        if len(samples) == 6:
            threading.Thread(target=server.stop).start()

    server.script = stop_after_a_while
    stopped = train(pair, tmp_path, server.url, steps=8)
    assert stopped.code == TRY_LATER, stopped.err
    assert "The run stopped; --resume continues from its checkpoint" in stopped.err
    assert "Traceback" not in stopped.err
    folder = tmp_path / "run"
    checkpoints = sorted(int(path.name.split("-")[1]) for path in (folder / "checkpoints").glob("checkpoint-*"))
    assert checkpoints in ([2], [3])  # the request that stops it may be answered
    assert not (folder / "run.json").exists()

    server.script = lambda seen: None
    server.start()
    resumed = train(pair, tmp_path, server.url, "--resume", "--set", "train.teacher_server.patience_s=5", steps=8)
    assert resumed.code == 0, resumed.err
    written = json.loads((folder / "run.json").read_text())
    assert [entry["step"] for entry in written["history"] if "loss" in entry] == list(range(1, 9))


@pytest.mark.slow
def test_a_process_whose_teacher_hangs_ends(pair, tmp_path, server):
    """Waiting threads and requests do not keep it alive."""
    turn, samples = tokenizer_of("sentencepiece").convert_tokens_to_ids("<turn>"), []

    def hang_after_a_while(seen):
        samples.extend([seen] * (turn in seen.ids))
        return faults.hang() if len(samples) > 6 else None

    server.script = hang_after_a_while
    timeout = ("--set", "train.teacher_server.timeout_s=0.3")
    command = [sys.executable, "-m", "crossdistill", *arguments(pair, tmp_path, server.url, *timeout, steps=8)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == TRY_LATER, ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run in its own process."""
    command = [sys.executable, "-m", "crossdistill", *arguments]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_signal_ends_the_wait_for_a_silent_server(pair, tmp_path, server):
    """It ends after a checkpoint of the last step, long before patience is spent."""
    turn, samples, is_silent = tokenizer_of("sentencepiece").convert_tokens_to_ids("<turn>"), [], threading.Event()

    def silent_after_a_while(seen):
        samples.extend([seen] * (turn in seen.ids))
        if len(samples) <= 6:
            return None
        is_silent.set()
        return faults.hang()

    server.script = silent_after_a_while
    patience = ("--set", "train.teacher_server.patience_s=600")
    with running(*arguments(pair, tmp_path, server.url, *patience, steps=8)) as process:
        assert is_silent.wait(120)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by SIGTERM after step 3; --resume continues" in errors
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.slow
@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("end", ["server gone", "Ctrl-C"])
def test_a_process_that_waits_in_its_first_evaluation_ends(pair, tmp_path, server, end):
    turn, is_waiting = tokenizer_of("sentencepiece").convert_tokens_to_ids("<turn>"), threading.Event()

    def silent(seen):
        if turn in seen.ids:
            is_waiting.set()
        return faults.hang() if is_waiting.is_set() else None

    server.script = silent
    patience = 3 if end == "server gone" else 600
    waits = (f"train.teacher_server.patience_s={patience}", "train.teacher_server.timeout_s=1")
    more = (*waits, "train.per_device_eval_batch_size=1")
    named = arguments(pair, tmp_path, server.url, *(part for one in more for part in ("--set", one)))
    with running(*named, "--set", f"eval_dataset={tmp_path / 'prompts.jsonl'}") as process:
        assert is_waiting.wait(120)
        if end == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in ((TRY_LATER,) if end == "server gone" else (1, 130, -signal.SIGINT)), errors


def test_a_server_with_another_tokenizer_is_refused(pair, tmp_path):
    with TeacherServer(scorer_of("byte_level")) as other:
        message = train(pair, tmp_path, other.url).message
    assert "tokenizer" in message
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--set", "train.teacher_server.patience=1"), "teacher_server 'patience'"),
        (("--set", "train.temperature=0.7"), "temperature"),
        (("--objective", "simct"), "needs dense probabilities"),
    ],
)
def test_what_a_server_cannot_do_is_refused(pair, tmp_path, server, more, words):
    assert words in train(pair, tmp_path, server.url, *more).message


def test_settings_of_a_server_need_one(pair, tmp_path):
    assert "no teacher is named by a URL" in train(pair, tmp_path, pair.teacher).message


@pytest.mark.slow
def test_a_repeated_run_requests_nothing_that_was_scored(pair, tmp_path, server):
    cache = ("--set", f"train.teacher_cache={tmp_path / 'scores'}")
    hits = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        assert train(pair, folder, server.url, *cache).code == 0
        history = json.loads((folder / "run" / "run.json").read_text())["history"]
        hits.append([entry["server/cache_hits"] for entry in history if "loss" in entry])
    assert sum(hits[0]) < 6
    assert hits[1] == [2, 2, 2]
