"""The benchmark of a GPU as a whole, on the CPU with small sizes, so that it cannot rot."""

import json
import os
from dataclasses import replace

import pytest
import torch

import benchmarks.gpu.__main__ as command
from benchmarks.dense.cell import FLOOR, GOLD_HYBRID
from benchmarks.gpu.installed import TRANSFORMERS
from benchmarks.gpu.plan import FULL, LOSSES, RATE, SMALL, STEP, Part, parts
from benchmarks.gpu.record import Record
from benchmarks.gpu.supervision import Supervisor
from benchmarks.objectives import dense_objectives
from benchmarks.steps.parts import SCORING

SKIPPED = ("liger_jsd", "liger_cross_entropy", "cut_cross_entropy", "vllm")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def no_process(monkeypatch):
    monkeypatch.setattr(Supervisor, "_measure", lambda *_: pytest.fail("a part was measured again"))


def bench(folder, **options) -> int:
    given = {"device": "cpu", "small": True, "budget_minutes": 60.0} | options
    try:
        command.main(folder / "figures.json", work=folder / "work", **given)
    except command.typer.Exit as ended:
        return ended.exit_code
    return 0


def figures(folder):
    return json.loads((folder / "figures.json").read_text())


def one_of_each_kind() -> list[Part]:
    """Parts in which every kind of cell is measured, by a few of them."""
    first = {part.kind: part for part in reversed(parts(SMALL, "cpu"))}
    few = {LOSSES: (FLOOR, "simct", GOLD_HYBRID), STEP: (TRANSFORMERS,)}
    return [replace(first[kind], cells=few.get(kind, first[kind].cells)) for kind in (RATE, LOSSES, STEP)]


@pytest.mark.slow
def test_a_part_of_each_kind_is_measured(tmp_path, monkeypatch):
    """So that it cannot rot; the test of all parts takes minutes."""
    todo = one_of_each_kind()
    monkeypatch.setattr(command, "parts", lambda *_: todo)
    assert bench(tmp_path) == 0
    found = figures(tmp_path)
    assert found["complete"]
    assert {(name, cell) for name, part in found["parts"].items() for cell in part["cells"]} == {
        (part.name, cell) for part in todo for cell in part.cells
    }
    cells = {cell: one for part in found["parts"].values() for cell, one in part["cells"].items()}
    assert {one["status"] for one in cells.values()} == {"ok"}
    assert all(cells[name]["product_flop"] > 0 for name in (FLOOR, "simct"))
    check_step(cells[TRANSFORMERS])


def check_step(step) -> None:
    assert all(seconds > 0 for name, seconds in step["parts"].items() if name != SCORING)
    assert sum(step["parts"].values()) == pytest.approx(step["step_seconds"])  # of one step


@pytest.mark.slow
@pytest.mark.long
def test_all_parts_are_measured_once(tmp_path, monkeypatch, capsys):
    assert bench(tmp_path) == 0
    found = figures(tmp_path)
    assert found["complete"]
    assert list(found["parts"]) == [part.name for part in parts(SMALL, "cpu")]
    for part in found["parts"].values():
        for cell, one in part["cells"].items():
            absent = cell in SKIPPED
            assert one["status"] == ("skipped" if absent else "ok"), (part["name"], cell, one)
            assert "GPU" in one["reason"] or "not installed" in one["reason"] if absent else "reason" not in one
    [losses] = [part for part in found["parts"].values() if part["name"].startswith("losses")]
    assert {FLOOR, "sampled", "gkd", GOLD_HYBRID, *dense_objectives()} <= losses["cells"].keys()
    assert all(losses["cells"][name]["product_flop"] > 0 for name in ("sampled", "gkd", FLOOR))
    check_step(found["parts"]["step transformers"]["cells"][TRANSFORMERS])
    assert found["targets"]
    assert "no target is judged" in capsys.readouterr().out

    monkeypatch.setattr(Supervisor, "_measure", lambda *_: pytest.fail("a part was measured again"))
    assert bench(tmp_path) == 0
    assert figures(tmp_path) == found


def test_a_budget_with_which_it_would_never_get_on_is_refused(tmp_path, no_process, capsys):
    assert bench(tmp_path, budget_minutes=0.1) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "--budget-minutes 0.1 is not enough for the next part, rate, which takes about 0.2: give at least that" in said
    )


def test_a_part_for_which_the_budget_has_not_enough_left_is_left_to_the_next_run(
    tmp_path, no_process, monkeypatch, capsys
):
    monkeypatch.setattr(Supervisor, "seconds_left", 1.0)
    assert bench(tmp_path) == 3
    said = capsys.readouterr().out
    assert "5 of 5 parts to measure" in said
    assert "rate: takes about 0.2 minutes, which are not left" in said
    assert "run the same command again" in said
    assert not figures(tmp_path)["complete"]


@pytest.fixture
def steps_alone(monkeypatch):
    """The command with the training steps as its only parts; it measures what it is told."""
    steps = [part for part in parts(SMALL, "cpu") if part.kind == STEP]
    monkeypatch.setattr(command, "parts", lambda *_: steps)
    monkeypatch.setattr(command, "check_device", lambda *_: None)
    monkeypatch.setattr(command, "table_of", lambda *_: "")

    def tell(**found):
        def put(supervisor, part):
            for cell in part.cells:
                supervisor._record.put(part, cell, found[cell])
            return True

        monkeypatch.setattr(Supervisor, "run", put)

    return tell


@pytest.mark.parametrize(
    ("vllm", "small", "code"),
    [
        ({"status": "ok", "share_of_rest": 0.01}, False, 0),
        ({"status": "ok", "share_of_rest": 0.03}, False, 1),
        ({"status": "failed", "reason": "out of luck"}, False, 1),
        ({"status": "skipped", "reason": "it is not installed"}, False, 1),
        ({"status": "ok", "share_of_rest": 0.03}, True, 0),
        ({"status": "failed", "reason": "out of luck"}, True, 1),
        ({"status": "skipped", "reason": "it is not installed"}, True, 0),
    ],
)
def test_the_exit_code_says_whether_all_targets_are_met(tmp_path, steps_alone, capsys, vllm, small, code):
    steps_alone(transformers={"status": "ok", "share_of_rest": 0.01}, vllm=vllm)
    assert bench(tmp_path, small=small) == code
    assert vllm.get("reason", "") in capsys.readouterr().out


def test_figures_of_another_run_are_not_mixed(tmp_path, no_process, monkeypatch, capsys):
    Record(tmp_path / "work", command.settings_of("cpu", True))
    settings = command.settings_of("cpu", True)
    monkeypatch.setattr(command, "settings_of", lambda *_: settings | {"source": "other"})
    assert bench(tmp_path) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "has figures of another run (source: " in said
    assert "name another folder with --work, or delete this one" in said


@pytest.mark.parametrize("folder", ["crossdistill", "benchmarks"])
def test_figures_of_another_state_of_the_code_are_of_another_run(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(command, "ROOT", tmp_path)
    for name in "crossdistill", "benchmarks":
        (tmp_path / name).mkdir()
        (tmp_path / name / "any.py").write_text("1")
    before = command.settings_of("cpu", True)
    assert command.settings_of("cpu", True) == before
    (tmp_path / folder / "any.py").write_text("2")
    assert command.settings_of("cpu", True)["source"] != before["source"]


@pytest.mark.parametrize(
    ("output", "work", "said"),
    [
        ("figures.json", "file", "--work cannot be FOLDER/file, because FOLDER/file is a file: name another"),
        (
            "figures.json",
            "file/below",
            "--work cannot be FOLDER/file/below, because FOLDER/file is a file: name another",
        ),
        (".", "work", "--output is a file, and FOLDER is a folder: name a file in it"),
        ("file/below.json", "work", "--output cannot be FOLDER/file, because FOLDER/file is a file: name another"),
        ("figures.json", "torn", "FOLDER/torn/settings.json is not JSON"),
    ],
)
def test_files_that_cannot_be_are_refused_before_anything_is_measured(tmp_path, no_process, capsys, output, work, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "settings.json").write_text("{")
    with pytest.raises(command.typer.Exit) as ended:
        command.main(tmp_path / output, "cpu", True, tmp_path / work, 60.0)
    assert ended.value.exit_code == 2
    assert said.replace("FOLDER", str(tmp_path)).replace(" ", "") in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "tpu"}, "--device is cuda or cpu, not 'tpu'"),
        ({"small": False}, "these sizes take a CPU days: give --small, or a GPU"),
        ({"device": "cuda"}, "there is no GPU here: --device cpu --small runs the same code in a minute"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, no_process, monkeypatch, capsys, options, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench(tmp_path, **options) == 2
    assert said in " ".join(capsys.readouterr().out.split())
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_the_whole_run_is_expected_to_take_less_than_its_budget():
    assert sum(part.seconds for part in parts(FULL, "cuda")) < 0.8 * 60 * command.BUDGET_MINUTES
