"""Processes that were launched together and train together, or do not."""

import pytest

from crossdistill import InputError
from crossdistill.runs.sft import sft_arguments
from crossdistill.train.preflight.launch import check_together
from tests.train.harness import make_trainer


def test_processes_that_would_each_train_by_themselves(monkeypatch, pair, output):
    """torchrun on a CPU with use_cpu = false: accelerate makes one process of each."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_together(2)
    with pytest.raises(InputError, match=r"2 processes were launched, and accelerate lets each train by itself"):
        check_together(1)
    monkeypatch.delenv("LOCAL_RANK")  # a cluster's variable, of machines and not of processes
    check_together(1)


def test_the_trainer_checks_it(monkeypatch, pair, output):
    monkeypatch.setattr(
        "crossdistill.train.trainer.check_together", lambda number: pytest.fail("checked") if number == 1 else None
    )
    with pytest.raises(pytest.fail.Exception, match="checked"):
        make_trainer(pair, output)


def test_sft_checks_it(monkeypatch, output):
    """Before a teacher writes responses, in each process."""
    monkeypatch.setattr(
        "crossdistill.runs.sft.check_together", lambda number: pytest.fail("checked") if number == 1 else None
    )
    with pytest.raises(pytest.fail.Exception, match="checked"):
        sft_arguments(output, {"use_cpu": True, "bf16": False})
