"""A cell's folder: what a process left there that was killed, and whether it is taken up."""

import json

import pytest

from crossdistill.arena import cell_run
from crossdistill.arena.cell import Cell
from crossdistill.arena.cell_run import BEGUN, run_cell
from crossdistill.arena.folder import OUTCOME
from crossdistill.runs.config import RunConfig
from tests.arena.files import read

CELL = Cell("demo", "dpca", "test", 1e-3, 0)
TRAINING = {"step": 0, "student_tokens": 1, "flops": 1, "seconds": 1.0, "mean": 0.5}
RUN = {"accuracy": {"validation": [TRAINING]}, "history": [{"step": 1, "loss": 0.5}], "data_points": 8}


@pytest.fixture
def trained(monkeypatch):
    """Whether each run was told to resume, in place of training."""
    told = []

    def train(config: RunConfig, output, resume):
        told.append(resume)
        (output / "checkpoints" / "checkpoint-1").mkdir(parents=True, exist_ok=True)
        (output / "config.json").write_text("{}")
        (output / "run.json").write_text(json.dumps(RUN))
        return None, RUN

    monkeypatch.setattr("crossdistill.runs.train.train", train)
    monkeypatch.setattr(cell_run, "_answered", lambda arena, cell, folder, found: found)
    return told


def test_what_was_begun_under_the_same_rules_is_continued(tmp_path, trained):
    arena, folder = read(tmp_path), tmp_path / "cell"
    run_cell(arena, CELL, "rules", folder, keep_models=True)
    (folder / OUTCOME).unlink()
    (folder / "run" / "run.json").unlink()
    run_cell(arena, CELL, "rules", folder, keep_models=True)
    assert trained == [False, True]


@pytest.mark.parametrize(("rules", "override"), [("other", "eval_every=2"), ("rules", "train.max_steps=3")])
def test_what_was_begun_under_other_rules_or_with_other_settings_is_begun_again(tmp_path, trained, rules, override):
    folder = tmp_path / "cell"
    run_cell(read(tmp_path), CELL, "rules", folder, keep_models=True)
    (folder / "run" / "left").touch()
    found = run_cell(read(tmp_path, override), CELL, rules, folder, keep_models=True)
    assert trained == [False, False] and not (folder / "run" / "left").exists()
    assert found.rules == rules and found.status == "done"


def test_a_cell_that_a_process_without_an_arena_has_finished_is_not_run_again(tmp_path, trained):
    arena, folder = read(tmp_path), tmp_path / "cell"
    first = run_cell(arena, CELL, "rules", folder)
    assert run_cell(arena, CELL, "rules", folder) == first and trained == [False]


def test_a_run_that_is_over_is_not_trained_again(tmp_path, trained):
    arena, folder = read(tmp_path), tmp_path / "cell"
    run_cell(arena, CELL, "rules", folder, keep_models=True)
    (folder / OUTCOME).unlink()
    found = run_cell(arena, CELL, "rules", folder, keep_models=True)
    assert trained == [False] and found.loss == [[1, 0.5]]


def test_evaluations_of_a_training_that_is_not_continued_are_made_again(tmp_path, trained):
    arena, folder = read(tmp_path), tmp_path / "cell"
    run_cell(arena, CELL, "rules", folder)  # without checkpoints, as after a kill
    (folder / OUTCOME).unlink()
    (folder / "run" / "run.json").unlink()
    (folder / "run" / "evaluations" / "step-000000").mkdir(parents=True)
    run_cell(arena, CELL, "rules", folder)
    assert trained == [False, True] and not (folder / "run" / "evaluations").exists()


def test_what_it_was_begun_with_is_written(tmp_path, trained):
    folder = tmp_path / "cell"
    run_cell(read(tmp_path), CELL, "rules", folder)
    assert json.loads((folder / BEGUN).read_text())["rules"] == "rules"
