"""How a cell's process begins and ends."""

import os
import signal

import pytest

from crossdistill.arena import worker
from crossdistill.arena.cell import Cell
from crossdistill.arena.worker import NO_SPACE, STOPPED, context_for
from crossdistill.errors import OutOfSpaceError
from crossdistill.runs.interrupt import Interrupted


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    os.environ.pop("OMP_NUM_THREADS", None)
    return os.environ


@pytest.mark.parametrize(("jobs", "threads"), [(1, "8"), (3, "2"), (16, "1")])
def test_processes_share_the_cores(environment, jobs, threads):
    context_for([], jobs)
    assert environment["OMP_NUM_THREADS"] == threads


def test_unless_the_user_says_how_many_each_has(environment):
    """Beside another program, two threads of torch on two busy cores are several times slower than one."""
    environment["OMP_NUM_THREADS"] = "1"
    context_for([], 1)
    assert environment["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (Interrupted(signal.SIGTERM, 3), STOPPED), (OutOfSpaceError("full"), NO_SPACE)]
)
def test_the_exit_code_tells_whether_there_is_an_outcome(monkeypatch, tmp_path, error, code):
    def run_cell(*parts):
        if error is not None:
            raise error

    monkeypatch.setattr("crossdistill.arena.cell_run.run_cell", run_cell)
    assert worker._finished(None, Cell("demo", "dpca", "test", 1e-3, 0), "rules", tmp_path, False) == code
