"""Graceful stops: SIGINT and SIGTERM end a run after a checkpoint, not in the middle of one."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from accelerate.utils import gather_object
from transformers import TrainerCallback

from crossdistill.errors import mark_known_to_all

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - not an error
    """The run stopped on a signal, in a state from which it can be resumed.

    Args:
        signal_number: of the signal.
        step: the last one of a training.

    Attributes:
        signal_number: of the signal.
    """

    def __init__(self, signal_number: int, step: int | None = None):
        after = "" if step is None else f" after step {step}"
        super().__init__(f"stopped by {signal.Signals(signal_number).name}{after}")
        self.signal_number = signal_number
        mark_known_to_all(self)


class StopOnSignal(TrainerCallback):
    """Saves and stops at the next step from which a run can be resumed exactly; a second signal kills.

    It is a context manager that handles signals inside ``with stop:`` and restores the previous handlers after it.

    A launcher signals its processes one after the other. They exchange what they received at each step, so that all
    stop at the same one.

    Args:
        every: optimisation steps on one batch of rollouts; checkpoints are taken between two batches.
        *reactions: called in the signal's handler.

    Attributes:
        received: the signal, or None so far.
    """

    def __init__(self, every: int = 1, *reactions: Callable[[], None]):
        self.received: signal.Signals | None = None
        self._every = every
        self._reactions = list(reactions)
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def add_reaction(self, react: Callable[[], None]) -> None:
        """Call another function in the signal's handler, after the others; it may raise."""
        self._reactions.append(react)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every:
            return
        if self.exchange() is not None:
            control.should_save = True
            control.should_training_stop = True

    def exchange(self) -> signal.Signals | None:
        """The signal that any process has received, None so far. Every process must call it."""
        self.received = next((number for number in gather_object([self.received]) if number is not None), None)
        return self.received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()  # the next signal has its ordinary effect
        for react in self._reactions:
            react()

    def _restore(self) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Inside this context SIGINT and SIGTERM raise Interrupted, at once; a second signal has its ordinary effect."""
    previous: dict[signal.Signals, Any] = {}

    def restore() -> None:
        while previous:
            signal.signal(*previous.popitem())

    def receive(number: int, frame: FrameType | None) -> None:
        restore()
        raise Interrupted(number)

    previous.update({number: signal.signal(number, receive) for number in SIGNALS})
    try:
        yield
    finally:
        restore()
