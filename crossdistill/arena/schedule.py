"""Cells side by side, each in a process of its own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.folder import ArenaFolder
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.worker import NO_SPACE, context_for, how_ended, is_stopped, last_line, start
from crossdistill.errors import InputError, OutOfSpaceError

_GRACE_S = 20.0
"""How long a process may take to end after it was told to."""
_FAILURES, _METHODS = 10, 3
"""So many failures one after the other, of so many methods, have a common cause."""


@dataclass(frozen=True)
class _Running:
    cell: Cell
    process: BaseProcess
    device: str | None
    began: float


class Schedule:
    """Runs cells, as many at once as there are places.

    Args:
        arena: the file.
        folder: of the arena.
        rules: the digest of a cell.
        jobs: processes at once.
        devices: GPUs, by number, on which they are spread; none for the CPU.
        keep_models: whether trained weights stay.
        ended: is told of each cell that has ended: the cell, its outcome, and when it began (``time.monotonic``).
        stopped: is told of each cell whose process a signal has stopped; it has no outcome, and is not begun again.
    """

    def __init__(
        self,
        arena: ArenaFile,
        folder: ArenaFolder,
        rules: Callable[[Cell], str],
        jobs: int,
        devices: Sequence[str],
        keep_models: bool,
        ended: Callable[[Cell, Outcome, float], None],
        stopped: Callable[[Cell], None],
    ):
        self._arena = arena
        self._folder = folder
        self._rules = rules
        self._context: Any = context_for(list(devices), jobs)
        self._keep_models = keep_models
        self._ended = ended
        self._tell_stopped = stopped
        self._stopped: set[Cell] = set()
        self._free: list[str | None] = [devices[k % len(devices)] if devices else None for k in range(jobs)]
        self._running: list[_Running] = []
        self._failures: list[Outcome] = []  # one after the other, up to now

    def run(self, outcomes: dict[Cell, Outcome], wanted: Callable[[], Sequence[Cell]]) -> None:
        """Run all wanted cells that have no outcome yet.

        Args:
            outcomes: of the cells so far; each new one is added.
            wanted: the cells that can be run, the next ones first; asked again after each.

        Raises:
            Interrupted: a signal was received; the processes have ended.
            InputError: all of the last cells have failed, of several methods: what they share is broken, such as the
                environment or a server, and the others would fail, too.
            OutOfSpaceError: a disk is full; likewise. It is no failure of the cells, which are not finished.
        """
        try:
            while True:
                self._fill([cell for cell in wanted() if cell not in outcomes])
                if not self._running:
                    return
                wait([one.process.sentinel for one in self._running])
                for one in [one for one in self._running if not one.process.is_alive()]:
                    self._running.remove(one)
                    self._free.append(one.device)
                    outcome = self._outcome(one)
                    if outcome is None:
                        self._stopped.add(one.cell)
                        self._tell_stopped(one.cell)
                        continue
                    outcomes[one.cell] = outcome
                    self._ended(one.cell, outcome, one.began)
                    self._check_common_cause(outcome)
        finally:
            self._stop()

    def _check_common_cause(self, outcome: Outcome) -> None:
        self._failures = [*self._failures, outcome] if outcome.status == "failed" else []
        if len(self._failures) >= _FAILURES and len({one.cell.method for one in self._failures}) >= _METHODS:
            raise InputError(
                f"the last {len(self._failures)} cells have all failed, the last one with: {outcome.reason} Mend what "
                "they have in common, and run them again with --retry; the same command without it leaves them failed "
                "and goes on with the others."
            )

    def _fill(self, cells: Sequence[Cell]) -> None:
        begun = {one.cell for one in self._running} | self._stopped
        for cell in [cell for cell in cells if cell not in begun][: len(self._free)]:
            device, folder, rules = self._free.pop(), self._folder.cell(cell), self._rules(cell)
            process = start(self._context, self._arena, cell, rules, folder, device, self._keep_models)
            self._running.append(_Running(cell, process, device, time.monotonic()))

    def _outcome(self, one: _Running) -> Outcome | None:
        """What the process has left; a failure if it has left nothing, and None if it was told to stop."""
        one.process.join()
        rules = self._rules(one.cell)
        outcome = self._folder.adopt(one.cell, rules)
        if outcome is None:
            code, said = one.process.exitcode, last_line(self._folder.cell(one.cell))
            if code == NO_SPACE:
                raise OutOfSpaceError(f"{one.cell.id}: {said}")
            if is_stopped(code):
                return None
            outcome = Outcome(one.cell, rules, "failed", f"its process {how_ended(code)}; the log ends: {said}")
            self._folder.add(outcome)
        return outcome

    def _stop(self) -> None:
        for one in self._running:
            one.process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for one in self._running:
            one.process.join(max(0.0, deadline - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
        self._running.clear()
