"""``crossdistill init``."""

import json
import tomllib
from pathlib import Path

import pytest

from crossdistill.runs.config import RunConfig, read_config
from tests.cli.harness import run
from tests.models import MESSAGES, Pair


def test_the_file_is_a_run_file(weightless: Pair, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    result = run("init", weightless.student, weightless.teacher, "--output", str(path), "--memory", "80")
    assert (result.code, result.err) == (0, "")
    assert f"crossdistill train {path} --output" in result.out
    config = read_config(RunConfig, path, [], {})
    assert (config.student, config.teacher) == (weightless.student, weightless.teacher)
    assert '# eval_tasks = ["gsm8k"]' in path.read_text()
    made_by = path.read_text().splitlines()[0]
    assert made_by.endswith(f"init {weightless.student} {weightless.teacher} --dataset prompts.jsonl --memory 80")


def test_no_file_is_overwritten(weightless: Pair, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("mine")
    names = "init", weightless.student, weightless.teacher, "--output"
    assert "exists, and is not overwritten" in run(*names, str(path)).message
    assert path.read_text() == "mine"
    assert "there is no folder" in run(*names, str(tmp_path / "none" / "run.toml")).message


def test_what_inspect_refuses_is_refused(weightless: Pair, whole_words: str, tmp_path: Path) -> None:
    path = str(tmp_path / "run.toml")
    for student, teacher in ((whole_words, weightless.teacher), ("/no/such/folder", weightless.teacher)):
        expected = run("inspect", student, teacher).message
        assert run("init", student, teacher, "--output", path).message == expected
    assert not Path(path).exists()


@pytest.mark.slow
def test_it_trains_as_it_stands(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": message}) + "\n" for message in MESSAGES * 4]
    (tmp_path / "prompts.jsonl").write_text("".join(rows))
    assert run("init", pair.student, pair.teacher).code == 0
    values = tomllib.loads((tmp_path / "run.toml").read_text())
    assert values["train"]["max_steps"] == 40
    shorter = ("--set", "train.max_steps=2", "--set", "train.warmup_steps=1")
    result = run("train", "run.toml", "--output", "out", *shorter)
    assert result.code == 0, result.err
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert written["data_points"] == 16
    assert written["objective"] == values["objective"]
