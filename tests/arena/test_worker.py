"""How a cell's process begins."""

import os

import pytest

from crossdistill.arena.worker import context_for


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
