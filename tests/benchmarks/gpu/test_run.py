"""The benchmark of a GPU as a whole, on the CPU with small sizes, so that it cannot rot."""

import json
import os

import pytest
import torch

import benchmarks.gpu.__main__ as command
from benchmarks.dense.cell import FLOOR, GOLD_HYBRID
from benchmarks.gpu.plan import FULL, SMALL, STEP, parts
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
    step = found["parts"]["step transformers"]["cells"]["transformers"]
    assert all(seconds > 0 for name, seconds in step["parts"].items() if name != SCORING)
    assert sum(step["parts"].values()) == pytest.approx(step["step_seconds"])  # of one step
    assert found["targets"]
    assert "no target is judged" in capsys.readouterr().out

    monkeypatch.setattr(Supervisor, "_measure", lambda *_: pytest.fail("a part was measured again"))
    assert bench(tmp_path) == 0
    assert figures(tmp_path) == found


def test_a_budget_that_is_too_small_measures_nothing(tmp_path, no_process, capsys):
    assert bench(tmp_path, budget_minutes=0.0) == 3
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
    bench(tmp_path, budget_minutes=0.0)
    settings = command.settings_of("cpu", True)
    monkeypatch.setattr(command, "settings_of", lambda *_: settings | {"source": "other"})
    capsys.readouterr()
    assert bench(tmp_path, budget_minutes=0.0) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "has figures of another run (source: " in said
    assert "name another folder with --work, or delete this one" in said


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
