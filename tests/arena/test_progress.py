"""The line of a cell: what was found, what it took, what is left."""

from dataclasses import replace

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.progress import Progress, duration
from tests.arena.outcomes import outcome

CELL = Cell("demo", "dpca", "test", 1e-3, 0)


def test_time_left_is_that_of_the_cells_so_far_shared_by_the_jobs():
    cells = [replace(CELL, seed=seed) for seed in range(9)]
    lines, times, finished = [], iter([10.0, 40.0]), set(cells[:3])
    progress = Progress(lines.append, lambda: cells, finished, jobs=2, clock=lambda: next(times))
    finished.add(cells[3])
    progress.ended(cells[3], outcome(cells[3], "01", "11"), began=0.0)
    finished.add(cells[4])
    progress.ended(cells[4], Outcome(cells[4], "rules", "diverged", "NaN"), began=10.0)
    assert lines == [
        "[4/9] demo/dpca/test-lr0.001-seed3  validation 50.0%, test 100.0%  10 s, 25 s left",
        "[5/9] demo/dpca/test-lr0.001-seed4  diverged: NaN  30 s, 40 s left",
    ]


def test_a_stage_takes_as_long_as_its_own_cells_and_one_cell_is_not_shared():
    start, tune = Cell("demo", "start", "model"), replace(CELL, stage="tune")
    lines, times, finished = [], iter([2.0, 100.0]), set()
    progress = Progress(lines.append, lambda: [start, tune, CELL], finished, jobs=2, clock=lambda: next(times))
    finished.add(start)
    progress.ended(start, outcome(start, "01", "01"), began=0.0)
    finished.add(tune)
    progress.ended(tune, outcome(tune, "01"), began=0.0)
    assert [line.rpartition(", ")[2] for line in lines] == ["2 s left", "51 s left"]


def test_cells_that_are_finished_but_not_planned_any_more_do_not_count():
    old = replace(CELL, rate=1e-4)
    lines = []
    progress = Progress(lines.append, lambda: [CELL], {old, CELL}, jobs=1, clock=lambda: 1.0)
    progress.ended(CELL, outcome(CELL), began=0.0)
    assert lines[0].startswith("[1/1] ") and lines[0].endswith("1 s, 0 s left")


def test_a_cell_that_was_stopped_goes_on_later():
    lines = []
    Progress(lines.append, lambda: [CELL], set(), jobs=1).stopped(CELL)
    assert lines[0].startswith(f"{CELL.id} was stopped by a signal: the same command goes on")


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.4, 60, 3599, 3600, 9000)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h 00 min",
        "1 h 00 min",
        "2 h 30 min",
    ]
