"""The coverage guard and the watchdog see what a run is trained on."""

from typing import Any

import pytest

from crossdistill import InputError
from crossdistill.integrations.async_trl import RolloutWorker
from crossdistill.integrations.async_trl.trainer import AsyncTrainer
from crossdistill.train.monitor import coverage_guard
from crossdistill.train.monitor.coverage_guard import MIN_ROLLOUTS, LowCoverageError
from tests.distill.fake_teacher import too_long
from tests.integrations.async_trl.conftest import BATCH, arguments


def test_a_teacher_that_supervises_too_little_ends_the_run(pair, worker: RolloutWorker, sampler, output, monkeypatch):
    monkeypatch.setattr(coverage_guard, "MIN_BYTES", 10)
    monkeypatch.setattr(coverage_guard, "expected_coverage", lambda *_: 1.0)
    teacher = next(iter(worker.distiller.teachers.values()))
    monkeypatch.setattr(teacher, "score", lambda requests, *_: [too_long(one) for one in requests])
    trainer = AsyncTrainer(pair.student, worker, arguments(output, max_steps=9), weight_transfer=sampler)
    with pytest.raises(LowCoverageError, match=r"stopped after a checkpoint at step 4: the teacher supervised 0\.0%"):
        trainer.train()
    assert trainer.state.global_step == MIN_ROLLOUTS
    assert (output / f"checkpoint-{MIN_ROLLOUTS}" / "rollout_state.json").exists()


@pytest.mark.slow
def test_the_watchdog_sees_every_sample_and_goes_on(make, output):
    seen: list[tuple[float, int]] = []

    def watched(**options: Any) -> AsyncTrainer:
        trainer = make(**options)
        add = trainer.monitors.watchdog.add
        trainer.monitors.watchdog.add = lambda sums, step: seen.append((sums.responses, step)) or add(sums, step)
        return trainer

    watched(max_steps=2, save_strategy="steps", save_steps=1).train()
    assert seen == [(BATCH, 1), (BATCH, 2)]
    again = watched(max_steps=2)
    again.train(resume_from_checkpoint=str(output / "checkpoint-1"))
    assert seen[2:] == [(BATCH, 2)]
    assert len(again.monitors.watchdog._start) == 1  # a block of 8 responses, of both runs


def test_settings_that_have_no_meaning_are_refused(make, pair, worker, sampler, output):
    with pytest.raises(InputError, match="min_coverage is a share"):
        AsyncTrainer(pair.student, worker, arguments(output), weight_transfer=sampler, min_coverage=2.0)
