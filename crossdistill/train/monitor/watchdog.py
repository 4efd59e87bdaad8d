"""Watchdog: a run that goes wrong in one of the known ways of distillation warns while it can still be stopped.

The latest rollouts of a run are compared with its first ones. Rollouts are put together until they hold BLOCK_RESPONSES
responses; the first NUM_BLOCKS such blocks are the start, the latest NUM_BLOCKS after them are compared with it. A
change is reported if it is large (module `collapse` has the bounds) and beyond noise. Each kind is reported once in a
run, whether or not it was resumed.
"""

import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.monitor.collapse import DETECTORS
from crossdistill.train.monitor.rollout_sums import RolloutSums

FILE_NAME = "watchdog.json"
BLOCK_RESPONSES = 8
NUM_BLOCKS = 10

_LOGGER = logging.getLogger("crossdistill")


@dataclass(frozen=True)
class RunWarning:
    """A warning of a run.

    Attributes:
        step: optimisation steps made before.
        kind: a key of DETECTORS, or of another monitor's warnings.
        message: the figures and what to try.
    """

    step: int
    kind: str
    message: str


class Watchdog(Monitor):
    """Compares the sums of training rollouts, of all processes together, which so decide alike.

    Args:
        is_main_process: whether this process emits the warnings.
        emit: receives them; the logger ``crossdistill`` by default.

    Attributes:
        warnings: those of the run so far, in order.
    """

    def __init__(self, is_main_process: bool = True, emit: Callable[[str], None] = _LOGGER.warning):
        self.warnings: list[RunWarning] = []
        self._is_main_process = is_main_process
        self._emit = emit
        self._open = RolloutSums()
        self._start: list[RolloutSums] = []
        self._recent: deque[RolloutSums] = deque(maxlen=NUM_BLOCKS)

    def see(self, seen: Observation) -> None:
        if seen.mode == "train" and seen.rollout.is_sampled:
            self.add(seen.sums, seen.step)

    def add(self, sums: RolloutSums, step: int) -> None:
        """Add one batch of training rollouts, sampled after `step` optimisation steps."""
        self._open.add(sums.values())
        if self._open.responses < BLOCK_RESPONSES:
            return
        (self._start if len(self._start) < NUM_BLOCKS else self._recent).append(self._open)
        self._open = RolloutSums()
        if len(self._recent) == NUM_BLOCKS:
            self._detect(step)

    def _detect(self, step: int) -> None:
        for kind, detect in DETECTORS.items():
            message = detect(self._start, list(self._recent))
            if message is not None:
                self.warn(step, kind, message)

    def warn(self, step: int, kind: str, message: str) -> None:
        """Warn of something, once in a run. Every process calls it alike."""
        if any(warning.kind == kind for warning in self.warnings):
            return
        self.warnings.append(RunWarning(step, kind, message))
        if self._is_main_process:
            self._emit(f"at step {step}: {message}")

    def as_list(self) -> list[dict[str, Any]]:
        """The ``warnings`` of ``run.json``."""
        return [asdict(warning) for warning in self.warnings]

    def save(self, checkpoint: Path, is_writer: bool) -> None:
        if not is_writer:
            return
        state = {
            "open": asdict(self._open),
            "start": [asdict(block) for block in self._start],
            "recent": [asdict(block) for block in self._recent],
            "warnings": self.as_list(),
        }
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / FILE_NAME).write_text(json.dumps(state))

    def load(self, checkpoint: Path) -> None:
        """A checkpoint without a watchdog's state leaves a new one."""
        path = checkpoint / FILE_NAME
        if not path.exists():
            return
        state = json.loads(path.read_text())
        self._open = RolloutSums(**state["open"])
        self._start = [RolloutSums(**block) for block in state["start"]]
        self._recent = deque((RolloutSums(**block) for block in state["recent"]), maxlen=NUM_BLOCKS)
        self.warnings = [RunWarning(**warning) for warning in state["warnings"]]
