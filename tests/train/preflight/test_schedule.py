"""A warm-up that outlasts its run is told."""

from pathlib import Path
from typing import Any

import pytest

from crossdistill.train.preflight.schedule import WARMUP_OUTLASTS_RUN, schedule_findings
from tests.train.harness import arguments

WARM: dict[str, Any] = {"lr_scheduler_type": "constant_with_warmup"}


def findings(tmp_path: Path, num_rows: int | None = None, **options: Any) -> list[Any]:
    return list(schedule_findings(arguments(tmp_path, **options), num_rows))


@pytest.mark.parametrize(("warmup", "steps", "share"), [(10, 3, "20%"), (3, 3, "67%"), (1, 1, "0%")])
def test_a_warm_up_that_outlasts_the_run(tmp_path: Path, warmup: int, steps: int, share: str) -> None:
    (finding,) = findings(tmp_path, warmup_steps=warmup, max_steps=steps, **WARM)
    assert finding.kind is WARMUP_OUTLASTS_RUN
    assert f"{warmup} steps and the run {steps}, so that the last step takes {share}" in finding.message


def test_a_run_of_epochs(tmp_path: Path) -> None:
    epochs = {"max_steps": -1, "num_train_epochs": 2, "warmup_steps": 4, **WARM}
    assert [finding.kind for finding in findings(tmp_path, 11, **epochs)] == [WARMUP_OUTLASTS_RUN]  # 2 x 2 steps
    assert findings(tmp_path, 12, **epochs) == []  # 2 x 3 steps
    assert findings(tmp_path, None, **epochs) == []
    assert findings(tmp_path, 6, num_generations=2, **epochs) == []  # of half as many prompts each
    assert len(findings(tmp_path, 5, num_generations=2, **epochs)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"warmup_steps": 2, **WARM},
        {"warmup_steps": 0.5, **WARM},
        {"warmup_steps": 100, "lr_scheduler_type": "constant"},
        {},
    ],
)
def test_a_warm_up_that_ends_in_time(tmp_path: Path, options: dict[str, Any]) -> None:
    assert findings(tmp_path, max_steps=3, **options) == []
