"""Which run owns an output folder, and from where it resumes."""

import json
from typing import Any

import pytest

from crossdistill import InputError
from crossdistill.runs.folder import RunFolder

CONFIG = {"student": "s", "train": {"learning_rate": 1e-6}, "lora": None}


def begin(folder: RunFolder, config: dict[str, Any], resume: bool) -> None:
    """What a run does with its folder."""
    folder.check(config, resume)
    folder.claim(config)


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_an_empty_folder_is_claimed(tmp_path, exists):
    folder = RunFolder(tmp_path / "a" / "run")
    if exists:
        folder.path.mkdir(parents=True)
    begin(folder, CONFIG, resume=False)
    assert json.loads(folder.config.read_text()) == CONFIG


def test_checking_writes_nothing(tmp_path):
    RunFolder(tmp_path / "run").check(CONFIG, resume=False)
    assert not (tmp_path / "run").exists()


def test_another_run_is_not_overwritten(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder, CONFIG, resume=False)
    with pytest.raises(InputError, match="holds another run: pass --resume to continue it, or name a new folder"):
        begin(folder, {"student": "x"}, resume=False)
    assert json.loads(folder.config.read_text()) == CONFIG


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds other files: name a new folder"):
        begin(RunFolder(tmp_path), CONFIG, resume=False)
    with pytest.raises(InputError, match=r"thesis.tex is a file: name a new folder"):
        begin(RunFolder(tmp_path / "thesis.tex"), CONFIG, resume=False)


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(InputError, match=r"there is no run to resume in .*: start it without --resume"):
        begin(RunFolder(tmp_path / "none"), CONFIG, resume=True)


def test_resuming_the_same_run(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder, CONFIG, resume=False)
    begin(folder, {**CONFIG, "train": {"learning_rate": 1e-6}}, resume=True)


def test_resuming_another_configuration_names_what_differs(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder, CONFIG, resume=False)
    with pytest.raises(InputError) as error:
        begin(folder, {**CONFIG, "train": {"learning_rate": 2e-6}, "seed": 1}, resume=True)
    assert "train.learning_rate (was 1e-06, now 2e-06)" in str(error.value)
    assert "seed (was None, now 1)" in str(error.value)
    assert "student" not in str(error.value)


def test_a_damaged_configuration_is_reported(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text('{"student": ')
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        begin(folder, CONFIG, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_name_that_no_folder_can_have(tmp_path, resume):
    with pytest.raises(InputError, match=r"cannot be used \(File name too long\): name another one"):
        RunFolder(tmp_path / ("x" * 300)).check({}, resume)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ({"max_steps": 20}, {"max_steps": 30}),
        ({"num_train_epochs": 1.0}, {"num_train_epochs": 2.0}),
        ({}, {"num_train_epochs": 4.0}),  # three are the default
        ({"report_to": ["wandb"], "save_steps": 5}, {"logging_steps": 1}),
    ],
)
def test_a_resumed_run_may_be_longer_and_keep_other_records(tmp_path, was, now):
    folder = RunFolder(tmp_path)
    begin(folder, {"student": "s", "train": was}, resume=False)
    begin(folder, {"student": "s", "train": now}, resume=True)
    assert json.loads(folder.config.read_text())["train"] == now


@pytest.mark.parametrize(
    ("was", "now", "refused"),
    [
        ({"max_steps": 20}, {"max_steps": 10}, r"train.max_steps \(was 20, now 10\)"),
        (
            {"num_train_epochs": 2.0},
            {"num_train_epochs": 2.0, "max_steps": 50},
            r"train.max_steps \(was None, now 50\)",
        ),
        ({}, {"num_train_epochs": 2.0}, r"train.num_train_epochs \(was None, now 2.0\)"),
    ],
)
def test_a_resumed_run_may_not_be_shorter_or_of_another_unit(tmp_path, was, now, refused):
    folder = RunFolder(tmp_path)
    begin(folder, {"student": "s", "train": was}, resume=False)
    with pytest.raises(InputError, match=refused):
        begin(folder, {"student": "s", "train": now}, resume=True)
