"""The progress bar, with the few figures that matter."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

EVAL_PREFIX, ACCURACY = "eval_", "/accuracy"
"""Around the name of a task, in a log entry; loggers show ``eval_gsm8k/accuracy`` as ``eval/gsm8k/accuracy``."""
_FIGURES = (
    ("loss", "loss {:.4f}"),
    ("teacher_gap", "gap {:.4f} nats/B"),
    ("coverage", "coverage {:.1%}"),
    ("mean_token_accuracy", "token accuracy {:.1%}"),
    ("response_tokens", "length {:.0f}"),
    ("stopped", "stopped {:.0%}"),
    ("tokens_per_second", "{:.0f} tok/s"),
)


def figures(logs: dict[str, Any]) -> str:
    """The figures of a log entry in one line; those it lacks are left out.

    Example:
        >>> figures({"coverage": 0.98, "stopped": 1.0, "loss": 0.1})
        'loss 0.1000  coverage 98.0%  stopped 100%'
    """
    return "  ".join(form.format(logs[name]) for name, form in _FIGURES if logs.get(name) is not None)


def accuracies(logs: dict[str, Any]) -> str:
    """The accuracies of a log entry in one line, with their intervals.

    Example:
        >>> accuracies({"eval_gsm8k/accuracy": 0.31, "eval_gsm8k/accuracy_low": 0.27, "eval_gsm8k/accuracy_high": 0.36})
        'gsm8k 31.0% (27.0-36.0)'
    """
    names = [key.removeprefix(EVAL_PREFIX).removesuffix(ACCURACY) for key in logs if key.endswith(ACCURACY)]
    return "  ".join(_accuracy(logs, name) for name in names)


def _accuracy(logs: dict[str, Any], name: str) -> str:
    key = f"{EVAL_PREFIX}{name}{ACCURACY}"
    ends = [logs[end] for end in (f"{key}_low", f"{key}_high") if end in logs]
    interval = f" ({100 * ends[0]:.1f}-{100 * ends[1]:.1f})" if ends else ""
    return f"{name} {logs[key]:.1%}{interval}"


class ProgressBar(TrainerCallback):
    """Draws a bar on a terminal; elsewhere prints one line at each log.

    Args:
        console: where; standard error by default.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: Any = None
        self._accuracies = ""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside this context the bar says that the run is evaluating."""
        if self._bar is None:
            yield
            return
        self._bar.update(self._task, description="evaluating")
        yield
        self._bar.update(self._task, description="training")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero or args.disable_tqdm:
            return
        columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}"), *columns, TextColumn("{task.fields[figures]}"), console=self._console
        )
        self._task = self._bar.add_task("training", total=state.max_steps, completed=state.global_step, figures="")
        if self._console.is_terminal:
            self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        accuracy = accuracies(logs or {})
        self._accuracies = accuracy or self._accuracies
        line = accuracy or figures(logs or {})
        if self._bar is None or not line:
            return
        self._bar.update(self._task, figures=line if accuracy else f"{line}  {self._accuracies}".rstrip())
        if not self._console.is_terminal:
            self._console.print(f"step {state.global_step}/{state.max_steps}  {line}", soft_wrap=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def use_progress_bar(trainer: Any, progress: TrainerCallback) -> None:
    """Replace the trainer's progress bar and printer.

    Args:
        trainer: of transformers.
        progress: the callback to use; it has an ``evaluating``, as :class:`ProgressBar`.
    """
    for callback in (ProgressCallback, PrinterCallback, ProgressBar):
        trainer.remove_callback(callback)
    trainer.add_callback(progress)
    trainer.progress_bar = progress
