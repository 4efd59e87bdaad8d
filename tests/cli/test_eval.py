"""``crossdistill eval``: a table for people, JSON for programs, one sentence for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crossdistill.demo.run import asset
from tests.cli.harness import Result, run

SUMS = "crossdistill.demo.sums:Sums"
STUDENT = asset("student")


def evaluation(output: Path, *more: str, model: str = STUDENT, task: str = SUMS) -> Result:
    return run("eval", model, "--task", task, "--limit", "6", "-o", str(output), "--device", "cpu", *more)


def test_a_table(output):
    result = evaluation(output, "--k", "2", "--temperature", "0.8", "--max-tokens", "40")
    assert result.code == 0, result.err
    header, row = result.out.splitlines()[-2:]
    assert header.split()[:4] == ["task", "samples", "avg@2", "95"]
    assert row.split()[:4] == ["sums", "6", "×", "2"]
    assert "sums: 12 of 12 samples" in result.err
    assert json.loads((output / "eval.json").read_text())["tasks"]["sums"]["sampling"]["k"] == 2


def test_json_and_quiet(output, tmp_path):
    result = evaluation(output, "--json")
    assert json.loads(result.out) == json.loads((output / "eval.json").read_text())
    assert result.err == ""
    quiet = evaluation(tmp_path / "quiet", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    again = evaluation(output, "--json", "--resume")
    assert again.out == result.out


@pytest.mark.slow
def test_no_library_speaks_while_problems_are_read(output, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sums.jsonl").write_text('{"prompt": "What is 2 + 2?", "answer": 4}\n')
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    options = ("-t", "data", "--max-tokens", "4", "-o", str(output), "--quiet")
    command = [sys.executable, "-m", "crossdistill", "eval", STUDENT, *options]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout == ""
    assert [line for line in result.stderr.splitlines() if "responses to data were cut" not in line] == []


@pytest.mark.slow
def test_no_library_speaks(output):
    """The whole command in a process of its own, whose standard error the libraries know."""
    command = [sys.executable, "-m", "crossdistill", "eval", STUDENT, "-t", SUMS, "--limit", "2", "-o", str(output)]
    result = subprocess.run(
        [*command, "--quiet"], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    assert (result.stdout, result.stderr) == ("", "")


def test_settings_reach_the_file(output):
    options = ("--top-p", "0.9", "--temperature", "0.5", "--seed", "3", "--system", "Add.", "--max-tokens", "20")
    assert evaluation(output, *options, "--template-kwargs", '{"brief": true}').code == 0
    entry = json.loads((output / "eval.json").read_text())["tasks"]["sums"]
    assert entry["sampling"] == {
        "k": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 20,
        "seed": 3,
        "template_kwargs": {"brief": True},
        "system": "Add.",
    }
    assert (entry["limit"], entry["seed"]) == (6, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--k", "4"], "4 samples of each problem at temperature 0 are all the same"),
        (["--top-p", "1.5"], "top_p is 1.5: give a probability above 0 and at most 1"),
        (["--preset", "papr"], "there is no preset 'papr': did you mean 'paper'?"),
        (["--preset", "paper"], "preset 'paper' is of the tasks aime24, aime25"),
        (["--source", "gsm8k=x.jsonl"], "--source names 'gsm8k', which is none of the tasks sums"),
        (["--source", "gsm8k"], "is not of the form key=value"),
        (["--task", SUMS], "two tasks are called 'sums', as the file of its samples is: name each once"),
        (["--temperature", "inf"], "the temperature is inf: give a finite one"),
        (["--template-kwargs", "{"], "--template-kwargs is not JSON"),
        (["--server", "max_in_flght=4"], "unknown key 'max_in_flght'"),
        (["--dtype", "int3"], "there is no dtype 'int3'"),
        (["--limit", "1000"], "fewer than the limit of 1000"),
    ],
)
def test_bad_input(output, options, message):
    assert message in evaluation(output, *options).message
    assert not output.exists()


def test_no_task(output):
    assert "there is nothing to evaluate: name a task with --task" in run("eval", STUDENT, "-o", str(output)).message


def test_no_model(output):
    assert "the folder './nothing here' does not exist" in evaluation(output, model="./nothing here").message


def test_a_server_that_is_not_there(output):
    result = evaluation(output, "--server", "patience_s=0.2", "--server", "timeout_s=1", model="http://127.0.0.1:9")
    assert result.code == 2
    assert "the model at http://127.0.0.1:9 cannot be reached (nothing listens at 127.0.0.1, port 9)" in result.err
