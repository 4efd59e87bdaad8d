"""The parts of each training step."""

from typing import Any

from transformers import TrainerCallback

from benchmarks.steps.stopwatch import Stopwatch


class StepSeconds(TrainerCallback):
    """Keeps the seconds of each step's parts.

    Attributes:
        steps: a dictionary for each step so far.
    """

    def __init__(self, watch: Stopwatch):
        self._watch = watch
        self.steps: list[dict[str, float]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps.append(self._watch.take())
