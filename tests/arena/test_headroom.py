"""A pair whose teacher is not better than its start is refused with its figures."""

from dataclasses import replace

import pytest

from crossdistill import InputError
from crossdistill.arena.headroom import check_headroom
from crossdistill.arena.plan import models
from tests.arena.files import read
from tests.arena.outcomes import outcome


def test_headroom(tmp_path):
    arena = read(tmp_path)
    start, teacher = models(arena)
    low, high = outcome(start, "01" * 20), outcome(teacher, "11" * 20)
    check_headroom(arena, {start: low, teacher: high})
    with pytest.raises(InputError, match=r"no headroom .* demo: start 50.0%, teacher 52.5%, difference \+2.5%"):
        check_headroom(arena, {start: low, teacher: outcome(teacher, "11" + "01" * 19)})


def test_a_model_that_could_not_be_evaluated(tmp_path):
    arena = read(tmp_path)
    start, teacher = models(arena)
    failed = replace(outcome(teacher), status="failed", reason="its weights are missing")
    with pytest.raises(InputError, match="demo/teacher/model could not be evaluated: its weights are missing"):
        check_headroom(arena, {start: outcome(start), teacher: failed})


def test_a_model_whose_process_was_stopped(tmp_path):
    arena = read(tmp_path)
    start, _ = models(arena)
    with pytest.raises(InputError, match=r"demo/teacher/model was stopped by a signal, .*: run the same command"):
        check_headroom(arena, {start: outcome(start)})
