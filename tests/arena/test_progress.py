"""The line of a cell: what was found, what it took, what is left."""

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.progress import Progress, duration
from tests.arena.outcomes import outcome

CELL = Cell("demo", "dpca", "test", 1e-3, 0)


def test_time_left_is_that_of_the_cells_so_far_shared_by_the_jobs():
    lines, times = [], iter([10.0, 40.0])
    progress = Progress(lines.append, done=3, total=9, jobs=2, clock=lambda: next(times))
    progress.ended(CELL, outcome(CELL, "01", "11"), began=0.0)
    progress.ended(CELL, Outcome(CELL, "rules", "diverged", "NaN"), began=10.0)
    assert lines == [
        "[4/9] demo/dpca/test-lr0.001-seed0  validation 50.0%, test 100.0%  10 s, 25 s left",
        "[5/9] demo/dpca/test-lr0.001-seed0  diverged: NaN  30 s, 40 s left",
    ]


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.4, 60, 3599, 3600, 9000)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h 00 min",
        "1 h 00 min",
        "2 h 30 min",
    ]
