"""The progress bar's line."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from crossdistill.train.monitor.progress_bar import ProgressBar, accuracies

LOGS = {"eval_gsm8k/accuracy": 0.31, "eval_gsm8k/accuracy_low": 0.228, "eval_gsm8k/accuracy_high": 0.406}


def begun(**terminal: Any) -> tuple[ProgressBar, io.StringIO]:
    file = io.StringIO()
    bar = ProgressBar(Console(file=file, width=200, **terminal))
    state = SimpleNamespace(is_world_process_zero=True, max_steps=20, global_step=0)
    bar.on_train_begin(SimpleNamespace(disable_tqdm=False), state, None)
    return bar, file


def test_accuracies_of_several_tasks():
    assert accuracies({**LOGS, "eval_mine/accuracy": 0.5, "loss": 1.0}) == "gsm8k 31.0% (22.8-40.6)  mine 50.0%"
    assert accuracies({"coverage": 1.0, "eval_gsm8k/parsed": 1.0}) == ""


def test_elsewhere_than_on_a_terminal_an_evaluation_has_a_line_of_its_own():
    bar, file = begun()
    state = SimpleNamespace(max_steps=20, global_step=10)
    bar.on_log(None, state, None, logs=LOGS)
    bar.on_log(None, state, None, logs={"coverage": 1.0})
    bar.on_train_end(None, state, None)
    assert file.getvalue().split("\n")[:2] == ["step 10/20  gsm8k 31.0% (22.8-40.6)", "step 10/20  coverage 100.0%"]


def test_on_a_terminal_the_latest_accuracy_stays_and_the_bar_says_that_it_evaluates():
    bar, file = begun(force_terminal=True)
    state = SimpleNamespace(max_steps=20, global_step=10)
    with bar.evaluating():
        assert bar._bar.tasks[0].description == "evaluating"
    assert bar._bar.tasks[0].description == "training"
    bar.on_log(None, state, None, logs=LOGS)
    bar.on_log(None, state, None, logs={"coverage": 1.0})
    assert bar._bar.tasks[0].fields["figures"] == "coverage 100.0%  gsm8k 31.0% (22.8-40.6)"
    bar.on_train_end(None, state, None)
    with bar.evaluating():
        assert "evaluating" not in file.getvalue().rpartition("\n")[2]
