"""Cells side by side: order, places, failures and signals, with processes that train nothing."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from crossdistill.arena import schedule
from crossdistill.arena.cell import Cell
from crossdistill.arena.folder import OUTCOME, ArenaFolder
from crossdistill.arena.schedule import Schedule
from crossdistill.arena.worker import LOG, NO_SPACE, STOPPED, end_with_parent
from crossdistill.errors import InputError, OutOfSpaceError
from tests.arena.outcomes import outcome

CELLS = [Cell("demo", "dpca", "test", 1e-3, seed) for seed in range(4)]
FULL = Cell("demo", "dpca", "test", 1e-3, 8)
IS_STOPPED, IS_TERMINATED, IS_KILLED = (replace(FULL, seed=seed) for seed in (10, 11, 12))
CRASHES, HANGS = CELLS[1], Cell("demo", "dpca", "test", 1e-3, 9)


def work(cell: Cell, folder: Path, device: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "device").write_text(str(device))
    if cell == HANGS:
        time.sleep(60)
    if cell == FULL:
        (folder / LOG).write_text("no space is left on the disk\n")
        os._exit(NO_SPACE)
    if cell == IS_STOPPED:
        os._exit(STOPPED)
    if cell in (IS_TERMINATED, IS_KILLED):
        (folder / LOG).write_text("step 3 of 12\n")
        os.kill(os.getpid(), signal.SIGTERM if cell == IS_TERMINATED else signal.SIGKILL)
    if cell == CRASHES or cell.seed >= 20:
        (folder / LOG).write_text("loading\nMemoryError\n")
        os._exit(3)
    time.sleep(0.1)
    (folder / OUTCOME).write_text(json.dumps(outcome(cell).as_dict()))


@pytest.fixture
def begin(monkeypatch, tmp_path):
    context = get_context("fork")

    def start(context_, arena, cell, rules, folder, device, keep_models):
        process = context.Process(target=work, args=(cell, folder, device))
        process.start()
        begun.append(cell)
        at_once.append(len(begun) - len(ended))
        return process

    monkeypatch.setattr(schedule, "start", start)
    monkeypatch.setattr(schedule, "context_for", lambda devices, jobs: context)
    begun, ended, at_once, stopped = [], [], [], []

    def make(jobs, devices=()):
        told = lambda cell, found, began: ended.append(cell)  # noqa: E731
        return Schedule(None, ArenaFolder(tmp_path), lambda cell: "rules", jobs, devices, False, told, stopped.append)

    make.begun, make.ended, make.at_once, make.stopped = begun, ended, at_once, stopped
    return make


def test_all_are_run_as_many_at_once_as_there_are_places(begin, tmp_path):
    cells, outcomes = [CELLS[0], *CELLS[2:]], {}
    begin(jobs=2).run(outcomes, lambda: cells)
    assert set(outcomes) == set(cells) == set(begin.ended) == set(ArenaFolder(tmp_path).outcomes(lambda cell: "rules"))
    assert begin.at_once == [1, 2, 2]  # as each began


def test_cells_become_known_as_others_end(begin):
    outcomes = {}
    begin(jobs=1).run(outcomes, lambda: CELLS[2:] if CELLS[0] in outcomes else CELLS[:1])
    assert list(outcomes) == [CELLS[0], *CELLS[2:]]


def test_finished_cells_are_not_run_again(begin, tmp_path):
    outcomes = {CELLS[0]: outcome(CELLS[0])}
    begin(jobs=1).run(outcomes, lambda: CELLS[:1])
    assert not ArenaFolder(tmp_path).cell(CELLS[0]).exists()


def test_a_process_that_dies_is_a_failure_with_its_last_words_and_the_others_go_on(begin):
    outcomes = {}
    begin(jobs=1).run(outcomes, lambda: CELLS)
    assert outcomes[CRASHES].status == "failed"
    assert outcomes[CRASHES].reason == "its process ended with code 3; the log ends: MemoryError"
    assert {cell for cell, found in outcomes.items() if found.status == "done"} == {*CELLS} - {CRASHES}


def test_a_cell_whose_process_was_stopped_has_no_outcome_and_is_not_begun_again(begin, tmp_path):
    cells, outcomes = [IS_STOPPED, CELLS[0], IS_TERMINATED], {}
    begin(jobs=1).run(outcomes, lambda: cells)
    assert list(outcomes) == [CELLS[0]] and list(ArenaFolder(tmp_path).outcomes(lambda cell: "rules")) == [CELLS[0]]
    assert begin.stopped == [IS_STOPPED, IS_TERMINATED] and begin.begun == cells
    assert ArenaFolder(tmp_path).cell(IS_STOPPED).exists()  # its checkpoint is there


def test_a_process_that_was_killed_is_a_failure_that_names_the_signal(begin):
    outcomes = {}
    begin(jobs=1).run(outcomes, lambda: [IS_KILLED])
    assert (
        outcomes[IS_KILLED].reason == "its process was killed by SIGKILL (out of memory?); the log ends: step 3 of 12"
    )


def failures(methods, number):
    return [replace(CRASHES, method=methods[k % len(methods)], seed=20 + k) for k in range(number)]


def test_failures_of_all_methods_in_a_row_stop_the_arena(begin, tmp_path):
    outcomes, cells = {}, failures(["dpca", "bpm", "alm"], 12)
    with pytest.raises(InputError, match=r"the last 10 cells have all failed, .*MemoryError Mend what .* --retry"):
        begin(jobs=1).run(outcomes, lambda: cells)
    assert len(outcomes) == len(ArenaFolder(tmp_path).outcomes(lambda cell: "rules")) == 10


@pytest.mark.parametrize("cells", [failures(["dpca", "bpm"], 12), [*failures(["a", "b", "c"], 9), CELLS[0]]])
def test_failures_of_a_few_methods_or_between_others_do_not(begin, cells):
    outcomes = {}
    begin(jobs=1).run(outcomes, lambda: cells)
    assert set(outcomes) == set(cells)


def test_a_full_disk_stops_the_arena_and_is_no_failure_of_a_cell(begin, tmp_path):
    outcomes = {}
    with pytest.raises(OutOfSpaceError, match=f"{FULL.id}: no space is left on the disk"):
        begin(jobs=1).run(outcomes, lambda: [CELLS[0], FULL, CELLS[2]])
    assert list(outcomes) == [CELLS[0]] and list(ArenaFolder(tmp_path).outcomes(lambda cell: "rules")) == [CELLS[0]]


def _orphan(path):
    signal.signal(signal.SIGTERM, lambda number, frame: (path.write_text("told"), os._exit(0)))
    (path.parent / "ready").touch()
    threading.Thread(target=end_with_parent, daemon=True).start()
    time.sleep(60)


def _parent(path):
    get_context("fork").Process(target=_orphan, args=(path,)).start()
    while not (path.parent / "ready").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_ends_when_its_arena_was_killed(tmp_path):
    parent = get_context("fork").Process(target=_parent, args=(tmp_path / "told",))
    parent.start()
    parent.join()
    deadline = time.monotonic() + 30
    while not (tmp_path / "told").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "told").exists()


def test_cells_are_spread_over_the_devices(begin, tmp_path):
    begin(jobs=2, devices=("4", "7")).run({}, lambda: [CELLS[0], CELLS[2]])
    devices = {(ArenaFolder(tmp_path).cell(cell) / "device").read_text() for cell in (CELLS[0], CELLS[2])}
    assert devices == {"4", "7"}


def test_an_interruption_ends_the_processes(begin, tmp_path):
    class StopError(Exception):
        pass

    def stop(number, frame):
        raise StopError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    began = time.monotonic()
    try:
        with pytest.raises(StopError):
            begin(jobs=1).run({}, lambda: [HANGS])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - began < 30
    assert ArenaFolder(tmp_path).outcomes(lambda cell: "rules") == {}
