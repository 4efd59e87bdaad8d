"""The progress bar, with the few figures that matter."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

_FIGURES = (
    ("teacher_gap", "gap {:.4f} nats/B"),
    ("coverage", "coverage {:.1%}"),
    ("response_tokens", "{:.0f} tokens"),
    ("stopped", "stopped {:.0%}"),
    ("tokens_per_second", "{:.0f} tok/s"),
)


def figures(logs: dict[str, Any]) -> str:
    """The figures of a log entry in one line; those it lacks are left out.

    Example:
        >>> figures({"coverage": 0.98, "stopped": 1.0, "loss": 0.1})
        'coverage 98.0%  stopped 100%'
    """
    return "  ".join(form.format(logs[name]) for name, form in _FIGURES if logs.get(name) is not None)


class ProgressBar(TrainerCallback):
    """Draws a bar on a terminal; elsewhere prints one line at each log.

    Args:
        console: where; standard error by default.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: Any = None

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
        line = figures(logs or {})
        if self._bar is None or not line:
            return
        self._bar.update(self._task, figures=line)
        if not self._console.is_terminal:
            self._console.print(f"step {state.global_step}/{state.max_steps}  {line}", soft_wrap=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def use_progress_bar(trainer: Any, progress: ProgressBar) -> None:
    """Replace the trainer's own progress bar and printer."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(progress)
