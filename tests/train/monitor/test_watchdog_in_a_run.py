"""The watch-dog in whole runs: what is logged, kept in checkpoints and written down."""

import json

import pytest

from crossdistill.runs.config import RunConfig
from crossdistill.runs.run_file import read_run
from crossdistill.runs.train import train
from crossdistill.train.monitor import watchdog
from crossdistill.train.monitor.watchdog import FILE_NAME
from tests.models import MESSAGES
from tests.train.harness import make_trainer

FIGURES = {"sampled_entropy", "share/digits", "share/white_space", "teacher_gap/rest", "coverage", "stopped"}


@pytest.fixture
def alarmed(monkeypatch):
    """A watch-dog that barks at its second rollout."""
    monkeypatch.setattr(watchdog, "NUM_BLOCKS", 1)
    monkeypatch.setattr(watchdog, "BLOCK_RESPONSES", 1)
    monkeypatch.setattr(watchdog, "DETECTORS", {"entropy": lambda start, recent: "the entropy collapses <so far>"})


def test_every_step_logs_its_figures(pair, tmp_path):
    trainer = make_trainer(pair, tmp_path, max_steps=2, num_iterations=2)
    trainer.train()
    first, second = trainer.steps
    assert first.keys() >= FIGURES
    assert first["sampled_entropy"] == pytest.approx(first["entropy"], rel=0.2)  # the same policy, other tokens
    assert 0 <= first["share/digits"] <= 1
    assert "share/digits" not in second  # of the same rollout
    assert trainer.watchdog.warnings == []
    assert trainer.watchdog._open.responses == 4


def test_evaluation_is_not_watched(pair, tmp_path):
    trainer = make_trainer(pair, tmp_path, trainer_options={"eval_dataset": None})
    trainer.evaluate(trainer.train_dataset)
    assert trainer.watchdog._open.responses == 0


@pytest.mark.slow
def test_a_warning_is_written_down(pair, tmp_path, alarmed):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    options = {"max_steps": 4, "per_device_train_batch_size": 4, "max_completion_length": 8, "save_steps": 2}
    quiet = {"bf16": False, "use_cpu": True, "disable_tqdm": True}
    config = RunConfig(student=pair.student, teacher=pair.teacher, dataset=str(data), train=options | quiet)
    train(config, tmp_path / "run")
    warnings = [{"step": 1, "kind": "entropy", "message": "the entropy collapses <so far>"}]
    assert read_run(tmp_path / "run")["warnings"] == warnings
    assert "the entropy collapses &lt;so far&gt;" in (tmp_path / "run" / "report.html").read_text()
    kept = json.loads((tmp_path / "run" / "checkpoints" / "checkpoint-2" / FILE_NAME).read_text())
    assert kept["warnings"] == warnings
    assert len(kept["start"]) == len(kept["recent"]) == 1


@pytest.mark.slow
def test_a_resumed_run_is_not_warned_twice(pair, tmp_path, alarmed, caplog):
    make_trainer(pair, tmp_path, max_steps=4, save_strategy="steps", save_steps=2).train()
    resumed = make_trainer(pair, tmp_path, max_steps=4)
    resumed.train(str(tmp_path / "checkpoint-2"))
    assert [(warning.step, warning.kind) for warning in resumed.watchdog.warnings] == [(1, "entropy")]
    assert caplog.text.count("the entropy collapses") == 1
