"""An arena from its file to its results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from crossdistill.arena.cell import Cell
from crossdistill.arena.checks import check_arena
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.folder import ArenaFolder
from crossdistill.arena.headroom import check_headroom
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.plan import every_cell, models, planned, possible, wanted
from crossdistill.arena.progress import Progress
from crossdistill.arena.rules import rules_of
from crossdistill.arena.schedule import Schedule
from crossdistill.errors import InputError

Outcomes = dict[Cell, Outcome]


@dataclass(frozen=True)
class Running:
    """How an arena's cells are run.

    Attributes:
        jobs: cells at once.
        devices: GPUs, by number; none for the CPU.
        only: patterns of cells' names (``*`` for any text); others are left alone. None for all.
        again: patterns of finished cells that are forgotten and run again; of those that are to be run.
        retries_failures: whether cells that failed are run again; of those that are to be run.
        keep_models: whether trained weights stay in the cells' folders.
    """

    jobs: int = 1
    devices: Sequence[str] = ()
    only: Sequence[str] | None = None
    again: Sequence[str] = ()
    retries_failures: bool = False
    keep_models: bool = False

    def takes(self, cell: Cell) -> bool:
        """Whether the cell is to be run; models as they are always are."""
        return self.only is None or cell.stage == "model" or _matches(cell, self.only)

    def is_forgotten(self, outcome: Outcome) -> bool:
        """Whether a finished cell is to be run again."""
        is_retried = self.retries_failures and outcome.status == "failed"
        return self.takes(outcome.cell) and (is_retried or _matches(outcome.cell, self.again))

    def check(self, arena: ArenaFile, folder: ArenaFolder) -> None:
        """Check that each pattern names a cell of the file, or, to be run again, one that the folder has.

        Raises:
            InputError: one names none, or is to forget cells that would not be run again.
        """
        if not self.only and not self.again:
            return
        cells = possible(arena)
        known = {"--only": cells, "--again": [*cells, *folder.recorded()]}
        for option, patterns in {"--only": self.only or (), "--again": self.again}.items():
            for pattern in patterns:
                named = [cell for cell in known[option] if _matches(cell, [pattern])]
                if not named:
                    raise InputError(
                        f"{option} {pattern!r} names no cell of this arena: * stands for any text, and names are such "
                        f"as {cells[0].id!r} and {cells[-1].id!r}."
                    )
                if not any(map(self.takes, named)):
                    raise InputError(
                        f"{option} {pattern!r} names cells that --only leaves alone, so they would not be run again: "
                        "leave out --only, or let it name them, too."
                    )


def _matches(cell: Cell, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(cell.id, pattern) for pattern in patterns)


def run_arena(arena: ArenaFile, output: Path, running: Running, say: Callable[[str], None]) -> Outcomes:
    """Run all cells that have no outcome yet.

    Args:
        arena: the file.
        output: folder to write; new, or of this arena.
        running: how.
        say: prints a line.

    Returns:
        The outcomes of all cells that are finished.

    Raises:
        InputError: bad input, found before the first cell, such as a pattern that names none; cells in the folder that
            were run under other rules; or a pair without headroom, before the first training.
        Interrupted: a signal was received; finished cells are recorded.
        OutOfSpaceError: a disk is full; likewise.
    """
    check_arena(arena)
    folder = ArenaFolder(output)
    running.check(arena, folder)
    with folder.claimed():
        forgotten = folder.forget(running.is_forgotten)
        if forgotten:
            say(f"{forgotten} finished cells are run again")
        rules = _Rules(arena)
        outcomes = folder.outcomes(rules.find)
        progress = Progress(
            say, lambda: list(filter(running.takes, planned(arena, outcomes))), outcomes.keys(), running.jobs
        )
        parts = rules.of, running.jobs, running.devices, running.keep_models, progress.ended, progress.stopped
        schedule = Schedule(arena, folder, *parts)
        schedule.run(outcomes, partial(models, arena))
        check_headroom(arena, outcomes)
        schedule.run(outcomes, lambda: [cell for cell in wanted(arena, outcomes) if running.takes(cell)])
    return outcomes


def unfinished(arena: ArenaFile, outcomes: Outcomes, running: Running) -> list[Cell]:
    """The cells that were to be run, and have failed or have no outcome; one that diverged has shown what there is."""
    cells = filter(running.takes, wanted(arena, outcomes))
    return [cell for cell in cells if cell not in outcomes or outcomes[cell].status == "failed"]


def recorded(arena: ArenaFile, output: Path) -> Outcomes:
    """The outcomes that a folder has, without running anything.

    Raises:
        InputError: it has cells that were run under other rules.
    """
    return ArenaFolder(output).outcomes(_Rules(arena).find)


class _Rules:
    """The digest of each cell of a file, computed once."""

    def __init__(self, arena: ArenaFile):
        self._arena = arena
        self._known: dict[Cell, str] = {}
        self._is_cell = every_cell(arena)

    def of(self, cell: Cell) -> str:
        if cell not in self._known:
            self._known[cell] = rules_of(self._arena, cell)
        return self._known[cell]

    def find(self, cell: Cell) -> str | None:
        """None for a cell that the file does not have."""
        return self.of(cell) if self._is_cell(cell) else None
