"""Cells side by side: order, places, failures and signals, with processes that train nothing."""

import json
import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from crossdistill.arena import schedule
from crossdistill.arena.cell import Cell
from crossdistill.arena.folder import OUTCOME, ArenaFolder
from crossdistill.arena.schedule import Schedule
from crossdistill.arena.worker import LOG
from tests.arena.outcomes import outcome

CELLS = [Cell("demo", "dpca", "test", 1e-3, seed) for seed in range(4)]
CRASHES, HANGS = CELLS[1], Cell("demo", "dpca", "test", 1e-3, 9)


def work(cell: Cell, folder: Path, device: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "device").write_text(str(device))
    (folder / "began").write_text(str(time.monotonic()))
    if cell == HANGS:
        time.sleep(60)
    if cell == CRASHES:
        (folder / LOG).write_text("loading\nMemoryError\n")
        os._exit(3)
    time.sleep(0.1)
    (folder / OUTCOME).write_text(json.dumps(outcome(cell).as_dict()))
    (folder / "ended").write_text(str(time.monotonic()))


@pytest.fixture
def begin(monkeypatch, tmp_path):
    context = get_context("fork")

    def start(context_, arena, cell, rules, folder, device, keep_models):
        process = context.Process(target=work, args=(cell, folder, device))
        process.start()
        return process

    monkeypatch.setattr(schedule, "start", start)
    monkeypatch.setattr(schedule, "context_for", lambda devices, jobs: context)
    ended = []

    def make(jobs, devices=()):
        told = lambda cell, found, began: ended.append(cell)  # noqa: E731
        return Schedule(None, ArenaFolder(tmp_path), lambda cell: "rules", jobs, devices, False, told)

    make.ended = ended
    return make


def test_all_are_run_as_many_at_once_as_there_are_places(begin, tmp_path):
    cells, outcomes = [CELLS[0], *CELLS[2:]], {}
    begin(jobs=2).run(outcomes, lambda: cells)
    assert set(outcomes) == set(cells) == set(begin.ended) == set(ArenaFolder(tmp_path).outcomes(lambda cell: "rules"))
    spans = [
        (
            float((ArenaFolder(tmp_path).cell(cell) / "began").read_text()),
            float((ArenaFolder(tmp_path).cell(cell) / "ended").read_text()),
        )
        for cell in cells
    ]
    assert spans[1][0] < spans[0][1]  # two at once
    assert spans[2][0] > min(spans[0][1], spans[1][1])  # and no third


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
