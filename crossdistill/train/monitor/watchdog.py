"""Watch-dogs: a run that goes wrong in one of the ways known of distillation says so while it can still be stopped.

A run's latest rollouts are compared with its first ones. Rollouts are put together until they hold BLOCK_RESPONSES
responses; the first NUM_BLOCKS such blocks are the start, the latest NUM_BLOCKS after them are what is judged. A change
is told of where it is large (module `collapse` has the bounds) and beyond noise. Each kind is told of
once in a run, whether or not it was resumed.
"""

import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossdistill.train.monitor.collapse import DETECTORS
from crossdistill.train.monitor.metrics import RolloutSums

FILE_NAME = "watchdog.json"
BLOCK_RESPONSES = 8
NUM_BLOCKS = 10

_LOGGER = logging.getLogger("crossdistill")


@dataclass(frozen=True)
class RunWarning:
    """What was told after `step` optimisation steps. kind: a key of DETECTORS. message: the figures and what to try."""

    step: int
    kind: str
    message: str


class Watchdog:
    """Judges the sums of every batch of training rollouts, of all processes together, which so decide alike.

    Args:
        speaks: whether this process gives its warnings to `tell`; one of several does.
        tell: the warnings of the logger ``crossdistill``, where omitted.

    Attributes:
        warned: the warnings of the run so far, as they came.
    """

    def __init__(self, speaks: bool = True, tell: Callable[[str], None] = _LOGGER.warning):
        self.warned: list[RunWarning] = []
        self._speaks = speaks
        self._tell = tell
        self._open = RolloutSums()
        self._start: list[RolloutSums] = []
        self._recent: deque[RolloutSums] = deque(maxlen=NUM_BLOCKS)

    def see(self, sums: RolloutSums, step: int) -> None:
        """One batch of training rollouts, sampled after `step` optimisation steps."""
        self._open.add(sums.values())
        if self._open.responses < BLOCK_RESPONSES:
            return
        (self._start if len(self._start) < NUM_BLOCKS else self._recent).append(self._open)
        self._open = RolloutSums()
        if len(self._recent) == NUM_BLOCKS:
            self._judge(step)

    def _judge(self, step: int) -> None:
        told = {warning.kind for warning in self.warned}
        for kind, look in DETECTORS.items():
            message = None if kind in told else look(self._start, list(self._recent))
            if message is None:
                continue
            self.warned.append(RunWarning(step, kind, message))
            if self._speaks:
                self._tell(f"at step {step}: {message}")

    def as_list(self) -> list[dict[str, Any]]:
        """The ``warnings`` of ``run.json``."""
        return [asdict(warning) for warning in self.warned]

    def save(self, checkpoint: str | Path) -> None:
        """Write what a resumed run needs, to judge as if it had not been interrupted."""
        state = {
            "open": asdict(self._open),
            "start": [asdict(block) for block in self._start],
            "recent": [asdict(block) for block in self._recent],
            "warnings": self.as_list(),
        }
        Path(checkpoint).mkdir(parents=True, exist_ok=True)
        (Path(checkpoint) / FILE_NAME).write_text(json.dumps(state))

    def load(self, checkpoint: str | Path) -> None:
        """Go on from a checkpoint; every process must. One of a version without watch-dogs begins anew."""
        path = Path(checkpoint) / FILE_NAME
        if not path.exists():
            return
        state = json.loads(path.read_text())
        self._open = RolloutSums(**state["open"])
        self._start = [RolloutSums(**block) for block in state["start"]]
        self._recent = deque((RolloutSums(**block) for block in state["recent"]), maxlen=NUM_BLOCKS)
        self.warned = [RunWarning(**warning) for warning in state["warnings"]]
