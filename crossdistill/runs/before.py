"""The evaluation before training, which the report compares with the one after it."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from crossdistill.runs.folder import RunFolder
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.run_file import write_json
from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.resumable import ending_together

Z95 = 1.96  # quantile of the normal distribution, for the interval of a mean over many rows


class EvaluationBefore(TrainerCallback):
    """Evaluates before the first step, and writes ``before.json``.

    It is a callback because engines that shard the weights compute only once training has begun.

    Args:
        trainer: of the run.
        folder: of the run.
        stop: tells of signals; at one, the evaluation ends the run at once, since there is nothing to save.
        measure: evaluates; every process calls it.
    """

    def __init__(self, trainer: Any, folder: RunFolder, stop: StopOnSignal, measure: Callable[[Any], dict[str, Any]]):
        self._trainer = trainer
        self._folder = folder
        self._stop = stop
        self._measure = measure
        self._is_evaluating = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        known = len(state.log_history)
        self._is_evaluating = True
        before = self._measure(self._trainer)
        self._is_evaluating = False
        with ending_together(self._folder.path):
            if self._trainer.accelerator.is_main_process:
                write_json(self._folder.before, before)
        del state.log_history[known:]  # it is the history of training
        self._trainer.begin_training()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        received = self._stop.exchange() if self._is_evaluating else None
        if received is not None:
            raise Interrupted(received, state.global_step)


def teacher_gap(trainer: CrossTokenizerTrainer) -> dict[str, Any]:
    """The teacher gap on new responses to the evaluation prompts, with its 95 % interval; None without any bytes.

    Args:
        trainer: of the run; every process must call it.
    """
    metrics, n = trainer.evaluate(), len(trainer.eval_dataset)
    if "eval_teacher_gap" not in metrics:
        return {"mean": None, "ci": None, "n": n}
    return interval(metrics["eval_teacher_gap"], metrics.get("eval_teacher_gap_se"), n)


def interval(mean: float, error: float | None, n: int) -> dict[str, Any]:
    """A metric of ``run.json`` with its 95 % interval; None without a standard error.

    Example:
        >>> interval(2.0, 0.5, 40)
        {'mean': 2.0, 'ci': [1.02, 2.98], 'n': 40}
    """
    return {"mean": mean, "ci": None if error is None else [mean - Z95 * error, mean + Z95 * error], "n": n}
