"""``python -m recipes.paper``: what it runs, skips and goes on with, and how it ends."""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossdistill.runs.run_file import write_json
from recipes.paper import __main__ as driver
from recipes.paper.settings import read_settings
from tests.recipes.folders import cell, evaluated, right
from tests.recipes.small import write_settings


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [part for path in write_settings(tmp_path) for part in ("--settings", str(path))]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class Commands:
    """Takes commands as the driver executes them, and leaves what they would, until one is to fail."""

    def __init__(self) -> None:
        self.run: list[list[str]] = []
        self.failing: str | None = None

    def __call__(self, command: Sequence[str]) -> int:
        folder, kind = Path(command[command.index("--output") + 1]), command[3]
        self.run.append([kind, folder.parent.name, folder.name, *(["--resume"] if command[-1] == "--resume" else [])])
        write_json(folder / "config.json", {})
        if f"{folder.parent.name}/{folder.name}" == self.failing:
            return 130
        if kind == "eval":
            tasks = [part.partition(":")[2] for option, part in pairwise(command) if option == "--task"]
            evaluated(folder, command[4], {task: right(1, 2) for task in tasks})
        else:
            write_json(folder / "run.json", {})
        return 0


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands()
    monkeypatch.setattr(driver, "execute", found)
    return found


def call(*arguments: str):
    return CliRunner().invoke(driver.app, arguments)


def test_a_cell_runs_after_what_it_needs(files, commands, out):
    assert call("run", "llama/opd", *files).exit_code == 0
    assert commands.run == [
        ["sft", "sft", "run"],
        ["eval", "sft", "eval"],
        ["eval", "sft", "eval-half"],
        ["train", "opd-0", "run"],
        ["eval", "opd-0", "eval"],
        ["eval", "opd-0", "eval-half"],
    ]
    assert (out / "llama" / "data" / "prompts.jsonl").exists()


def test_what_is_done_is_left_and_what_was_stopped_goes_on(files, commands):
    commands.failing = "opd-0/run"
    stopped = call("run", "qwen", *files)
    assert stopped.exit_code == 130
    assert "`python -m recipes.paper run qwen/opd-0` goes on from here" in stopped.output
    commands.run, commands.failing = [], None
    assert call("run", "qwen", *files).exit_code == 0
    assert commands.run == [["train", "opd-0", "run", "--resume"], ["eval", "opd-0", "eval"]]
    commands.run = []
    assert call("run", "qwen", *files).exit_code == 0
    assert commands.run == []


def test_an_evaluation_is_done_with_its_last_task(files, commands, out):
    assert call("run", "qwen", *files).exit_code == 0
    path = out / "qwen" / "opd-0" / "eval" / "eval.json"
    record = json.loads(path.read_text())
    del record["tasks"]["math500"]
    path.write_text(json.dumps(record))
    commands.run = []
    assert call("run", "qwen", *files).exit_code == 0
    assert commands.run == [["eval", "opd-0", "eval", "--resume"]]


def test_all_are_the_cells_of_the_tables(files, commands):
    assert call("run", "all", *files).exit_code == 0
    assert len({tuple(one) for one in commands.run}) < len(commands.run)  # the same method on several pairs
    assert not any("verl" in name or "seqkd" in name for _, name, *_ in commands.run)
    assert all(line.endswith("done") for line in call("list", *files).output.splitlines())


def test_the_list_tells_how_far_each_is(files, commands, out):
    commands.failing = "sft/eval"
    call("run", "llama/sft", *files)
    lines = dict(line.split(maxsplit=1) for line in call("list", *files).output.splitlines())
    assert lines["llama/sft"] == "1 of 3 commands"
    assert lines["llama/opd-0"] == "not run"
    shown = call("list", "--all", "--commands", *files).output
    assert "llama/opd-verl-0 asks a server of the teacher" in shown
    assert "objective_options.credit=marginal" in shown


def test_tables_say_which_commands_are_missing(files, commands, out):
    call("run", "r1/opd", *files)
    result = call("tables", *files)
    assert result.exit_code == 0, result.output
    text = (out / "tables.md").read_text()
    assert "run r1/alm`" in text
    assert "run r1/opd`" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "there is no cell 'nothing'"),
        (["data", "nothing"], "there is no pair 'nothing': name one of llama, r1, qwen."),
        (["list", "--settings", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, files, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["paper", *arguments, *files])
    with pytest.raises(SystemExit) as end:
        driver.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(driver.InputError, match=r"'no-such-command' cannot be started \(No such file.*\[hardware\]"):
        driver.execute(["no-such-command"])
    assert driver.execute([str(shutil.which("true"))]) == 0
    assert driver.execute([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_waits_for_the_checkpoint():
    """The command hears it as well, and ends by itself."""
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert driver.execute([sys.executable, "-c", "import time; time.sleep(2); raise SystemExit(7)"]) == 7


def test_a_model_is_served_for_its_evaluation(files, commands, tmp_path, monkeypatch):
    """The server lives while the evaluation runs, and no training has one."""
    served: list[str] = []

    class Serving:
        def __init__(self, command: Sequence[str], model: str, url: str):
            assert (list(command), url) == (["serve", "{model}"], "http://127.0.0.1:9")
            self.model = model

        def __enter__(self) -> None:
            served.append(f"begin {Path(self.model).parent.parent.name}")

        def __exit__(self, *_: object) -> None:
            served.append(f"end after {commands.run[-1][0]}")

    monkeypatch.setattr(driver, "serving", Serving)
    path = tmp_path / "served.toml"
    path.write_text('[eval]\nserve = ["serve", "{model}"]\nurl = "http://127.0.0.1:9"\n')
    assert call("run", "qwen", *files, "--settings", str(path)).exit_code == 0
    assert served == ["begin sft", "end after eval", "begin opd-0", "end after eval"]
    settings = read_settings([Path(part) for part in (*files[1::2], str(path))])
    evaluations = [stage for stage in cell(settings, "qwen/opd-0").stages() if stage.serves]
    assert all(stage.argv[4] == "http://127.0.0.1:9" for stage in evaluations)
