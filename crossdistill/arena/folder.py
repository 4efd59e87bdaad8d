"""The arena's output folder.

cells.jsonl   the outcome of each finished cell, one a line: with it an arena goes on, also on another machine
arena.json    results of all cells that are finished
report.html   the same, for people
results.md    the same, for documents
cells/PAIR/METHOD/STAGE-lrRATE-seedSEED/   cell.json (the outcome), log.txt, run/ and answers/ of each cell
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome
from crossdistill.errors import InputError
from crossdistill.files import write_text
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.responses_file import complete_lines

OUTCOME = "cell.json"
"""A cell's own file, written last by the process that ran it."""
_LOCK = ".lock"


class ArenaFolder:
    """An arena's folder.

    Args:
        path: of the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def record(self) -> Path:
        return self.path / "cells.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "arena.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def markdown(self) -> Path:
        return self.path / "results.md"

    def cell(self, cell: Cell) -> Path:
        """Folder of a cell."""
        return self.path / "cells" / cell.id

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for one arena.

        Raises:
            InputError: it cannot be written, holds other files than an arena's, or another process uses it.
        """
        from filelock import FileLock, Timeout

        folder = RunFolder(self.path)
        folder.check_usable()
        if folder.holds_other_than(_LOCK) and not self.record.exists():
            raise InputError(f"the output folder {self.path} holds other files than an arena's: name a new folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / _LOCK, timeout=0):
                self.record.touch()
                complete_lines(self.record)  # cuts off a line that a kill left in the middle
                yield
        except Timeout:
            raise InputError(
                f"another arena writes to {self.path} at this moment: wait until it has ended, or name another folder."
            ) from None

    def outcomes(self, rules: Callable[[Cell], str | None]) -> dict[Cell, Outcome]:
        """The outcomes of the cells that the folder has.

        Args:
            rules: the digest of a cell in today's file; None for a cell that the file does not have.

        Returns:
            By cell; those of cells that the file does not have are left out, and stay in the folder.

        Raises:
            InputError: the record is damaged, or was made under other rules.
        """
        found = {outcome.cell: outcome for outcome in self._recorded()}
        known = {cell: outcome for cell, outcome in found.items() if rules(cell) is not None}
        other = [cell.id for cell, outcome in known.items() if outcome.rules != rules(cell)]
        if other:
            raise InputError(
                f"{len(other)} cells in {self.path} were run under other rules (models, data or settings have changed "
                f"since), the first is {other[0]}: name a new folder, or run them again with --again PATTERN."
            )
        return known

    def add(self, outcome: Outcome) -> None:
        """Record the outcome of a cell."""
        with self.record.open("a", encoding="utf-8") as file:
            file.write(_line(outcome))

    def adopt(self, cell: Cell, rules: str) -> Outcome | None:
        """The outcome that a cell's process has left, now recorded; None if the cell is not finished.

        What was left under other rules is removed, with the cell's folder.
        """
        outcome = outcome_in(self.cell(cell))
        if outcome is None:
            return None
        if outcome.rules != rules:
            shutil.rmtree(self.cell(cell))
            return None
        self.add(outcome)
        return outcome

    def recorded(self) -> list[Cell]:
        """The cells that the folder has an outcome of, in the order in which they ended."""
        return [outcome.cell for outcome in self._recorded()]

    def forget(self, is_forgotten: Callable[[Outcome], bool]) -> int:
        """Remove cells, so that they are run again from their beginning; returns how many."""
        recorded = self._recorded()
        gone = [outcome for outcome in recorded if is_forgotten(outcome)]
        kept = [outcome for outcome in recorded if not is_forgotten(outcome)]
        for outcome in gone:
            shutil.rmtree(self.cell(outcome.cell), ignore_errors=True)
        if gone:
            write_text(self.record, "".join(map(_line, kept)))
        return len(gone)

    def _recorded(self) -> list[Outcome]:
        """A last line that is not whole is left out: a kill cut it short, or another process is writing it.

        A line that is there twice counts once, as after two machines' records were put together.
        """
        outcomes: dict[Cell, tuple[int, Outcome]] = {}
        for number, line in enumerate(complete_lines(self.record, is_owner=False), 1):
            where = f"line {number} of {self.record}"
            try:
                entry = json.loads(line)
            except ValueError:
                raise InputError(f"{where} is not JSON: restore the file from a backup, or remove the line.") from None
            outcome = Outcome.from_dict(entry, where)
            first, known = outcomes.setdefault(outcome.cell, (number, outcome))
            if known != outcome:
                raise InputError(
                    f"lines {first} and {number} of {self.record} say different things of one cell, {outcome.cell.id}: "
                    "remove the one that is out of date."
                )
        return [outcome for _, outcome in outcomes.values()]


def outcome_in(folder: Path) -> Outcome | None:
    """The outcome that a cell's process has left in the cell's folder; None if the cell is not finished."""
    path = folder / OUTCOME
    if not path.exists():
        return None
    return Outcome.from_dict(json.loads(path.read_text(encoding="utf-8")), str(path))


def _line(outcome: Outcome) -> str:
    return json.dumps(outcome.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"
