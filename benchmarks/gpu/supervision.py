"""Parts in processes of their own, within a budget of time: what dies or takes too long costs one cell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu.installed import why_not
from benchmarks.gpu.plan import Part
from benchmarks.gpu.record import Record
from benchmarks.gpu.worker import job

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.25
STDERR_LINES = 4
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Libraries read it when they are imported: nothing is looked for on the network."""
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
"""What ends a process; one that is measured has a session of its own, and gets none of them."""
Command = Callable[[Path], list[str]]


def worker_command(file: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu.worker", str(file)]


class Supervisor:
    """Runs parts until a deadline.

    Args:
        record: of the figures.
        device: cpu or cuda.
        small: whether sizes are small.
        deadline: on :func:`time.time`'s clock.
        command: that measures the job in a file.
    """

    def __init__(self, record: Record, device: str, small: bool, deadline: float, command: Command = worker_command):
        self._record, self._device, self._small = record, device, small
        self._deadline, self._command = deadline, command

    @property
    def seconds_left(self) -> float:
        return self._deadline - time.time()

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """While it is open, a signal to end is the deadline: the running process ends, and what is there is kept."""

        def stop(*_: object) -> None:
            self._deadline = 0.0

        heard = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]  # nohup ignores SIGHUP
        before = {one: signal.signal(one, stop) for one in heard}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def run(self, part: Part) -> bool:
        """Measure what is missing of a part; False if the deadline came first. A cell that fails is not repeated."""
        reasons = {cell: why_not(cell, self._device) for cell in part.cells}
        self._record.begin(part, {cell: reason for cell, reason in reasons.items() if reason is not None})
        while cells := self._record.missing(part):
            if not self._measure(part, cells):
                return False
        return True

    def _measure(self, part: Part, cells: list[str]) -> bool:
        """One process; it ends with the last of the cells, or with one that fails or takes too long."""
        with TemporaryDirectory() as folder:
            file, errors = Path(folder) / "job.json", Path(folder) / "stderr"
            file.write_text(job(part, cells, self._record, self._device, self._small), encoding="utf-8")
            with errors.open("w") as stderr:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    self._command(file),
                    cwd=ROOT,
                    env={**os.environ, **ENVIRONMENT},
                    stdout=stderr,
                    stderr=stderr,
                    start_new_session=True,  # so that what it starts, as vLLM does, ends with it
                )
            try:
                in_time, status, reason = self._watch(process, part)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            reason = reason or " | ".join(errors.read_text(errors="replace").strip().splitlines()[-STDERR_LINES:])
        running = self._record.running(part)
        if not in_time:
            if running is not None:
                self._record.drop(part, running[0])
        elif running is not None:
            found = {"status": status, "reason": reason, "seconds_at_least": time.time() - running[1]}
            self._record.put(part, running[0], found)
        elif self._record.missing(part):  # it died before the first cell, or between two
            for cell in self._record.missing(part):
                self._record.put(part, cell, {"status": "failed", "reason": reason})
        return in_time

    def _watch(self, process: subprocess.Popen[bytes], part: Part) -> tuple[bool, str, str]:
        """Until the process ends: whether the deadline has not come, and how its running cell ended, if it did not."""
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if self.seconds_left <= 0:
                return False, "", ""
            running = self._record.running(part)
            if running is not None and time.time() - running[1] > part.cell_seconds:
                return True, "time-out", f"more than {part.cell_seconds:.0f} s"
        return True, "failed", ""
