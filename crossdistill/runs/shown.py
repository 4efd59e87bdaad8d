"""Training as the terminal of a run shows it: header, steps, evaluations."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import has_length

from crossdistill.phases import detail
from crossdistill.runs.before import Z95
from crossdistill.runs.terminal import TRAINING, Terminal
from crossdistill.train.monitor.progress_bar import accuracies, figures, use_progress_bar

Header = Callable[[Any], Sequence[tuple[str, str]]]
"""Rows of names and what they are, from the state of the trainer."""


_PARTS = {
    "rollout": "sampling",
    "align": "alignment",
    "render": "rendering prompts",
    "student": "the student's log-probabilities",
    "teacher": "the teacher's scores",
    "reward": "reward",
    "credit": "update",  # the gradient follows it
}
"""Parts of a step, as the trainer's timers have them, in words."""


def show_training(trainer: Any, terminal: Terminal, header: Header) -> None:
    """Show the training of a trainer on a terminal, in place of its progress bar.

    Args:
        trainer: of a run.
        terminal: where.
        header: of the run.
    """
    use_progress_bar(trainer, ShownTraining(terminal, header))
    if hasattr(trainer, "distiller"):
        trainer.distiller.timers.on_begin = _say_part


def _say_part(part: str) -> None:
    detail(_PARTS.get(part, part))


def held_out(logs: dict[str, Any]) -> str:
    """The teacher gap of an evaluation, or else its loss, with the 95 % interval; empty of any other log entry.

    Example:
        >>> held_out({"eval_teacher_gap": 0.015, "eval_teacher_gap_se": 0.002, "eval_loss": 1.0})
        'held-out gap 0.0150 nats/B (0.0111-0.0189)'
        >>> held_out({"eval_loss": 1.0})
        'held-out loss 1.0000'
    """
    for name, form in (("teacher_gap", "held-out gap {:.4f} nats/B"), ("loss", "held-out loss {:.4f}")):
        mean, error = logs.get(f"eval_{name}"), logs.get(f"eval_{name}_se")
        if mean is not None:
            interval = "" if error is None else f" ({mean - Z95 * error:.4f}-{mean + Z95 * error:.4f})"
            return f"{form.format(mean)}{interval}"
    return ""


class ShownTraining(TrainerCallback):
    """Stands in for the trainer's progress bar.

    Args:
        terminal: where training is shown.
        header: of the run, shown as training begins.
    """

    def __init__(self, terminal: Terminal, header: Header):
        self._terminal = terminal
        self._header = header
        self._began: float | None = None
        self._seconds, self._steps = 0.0, 0  # of the steps that were made here
        self._tokens: tuple[float, float] | None = None  # time and number at the last log
        self._batches = 0  # of an evaluation

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside this context the run evaluates on tasks."""
        yield
        self._train()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._terminal.table(self._header(state))
        if state.global_step:
            self._terminal.say(f"resumed after step {state.global_step} of {state.max_steps}")
        self._terminal.steps(state.global_step, state.max_steps, None)
        self._train()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._began is not None:
            self._seconds, self._steps = self._seconds + time.monotonic() - self._began, self._steps + 1
        left = (state.max_steps - state.global_step) * self._seconds / self._steps if self._steps else None
        self._terminal.steps(state.global_step, state.max_steps, left)

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **kwargs: Any
    ) -> None:
        self._batches += 1
        of = f" of {len(eval_dataloader)}" if has_length(eval_dataloader) else ""
        self._terminal.begin(f"held-out rows, batch {self._batches}{of} done", is_said=False)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._batches = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        found = logs or {}
        if "loss" in found:
            self._terminal.log(figures({**found, **self._rate(found)}))
        for evaluation in filter(None, (held_out(found), accuracies(found))):
            self._terminal.say(f"step {state.global_step}/{state.max_steps}  {evaluation}")
            self._train()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._terminal.steps(0, 0, None)

    def _train(self) -> None:
        self._terminal.begin(TRAINING, is_said=False)

    def _rate(self, logs: dict[str, Any]) -> dict[str, float]:
        """Tokens a second since the last log, for a trainer that logs their number alone."""
        if "num_tokens" not in logs or "tokens_per_second" in logs:
            return {}
        before, self._tokens = self._tokens, (time.monotonic(), logs["num_tokens"])
        if before is None:
            return {}
        return {"tokens_per_second": (self._tokens[1] - before[1]) / (self._tokens[0] - before[0])}
