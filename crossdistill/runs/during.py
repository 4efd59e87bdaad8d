"""Evaluations during training: the student's accuracy on held-out problems, before it, every few steps and at its end.

What an evaluation finds is in OUTPUT/evaluations/step-N, a folder like those of ``crossdistill eval``.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from traceback import extract_tb
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback

from crossdistill.errors import EvaluationError, InputError
from crossdistill.findings import FindingLog
from crossdistill.phases import phase
from crossdistill.runs.accuracy import figures_of, finish_evaluation, is_whole, tasks_of
from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.evaluate import evaluate_model
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.held_out import HeldOut
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.meter import Meter
from crossdistill.space import out_of_space
from crossdistill.train.resumable import ending_together
from crossdistill.train.together import raised_on_all
from crossdistill.train.whole import check_whole, whole_student

SHARE = 10
"""Evaluations of a run, beside the one before it, unless it is told when to evaluate."""


class EvaluationDuring(TrainerCallback):
    """Evaluates the student, unless the folder has that evaluation already. It changes nothing of training.

    Of several processes the first one evaluates, and the others wait for it. It stands before `stop` among the
    callbacks, so that a signal during an evaluation stops the run at that step. So does an evaluation that fails: a
    checkpoint is saved first.

    Args:
        trainer: of the run.
        meter: of what training costs.
        tasks: to evaluate on.
        folder: of the run.
        stop: tells of signals; at one, an evaluation ends at once.
        config: of the run: its student's name, and the steps from one evaluation to the next.

    Raises:
        InputError: there are tasks, and the trainer's engine cannot gather the student.
    """

    def __init__(
        self,
        trainer: Any,
        meter: Meter,
        tasks: Sequence[HeldOut],
        folder: RunFolder,
        stop: StopOnSignal,
        config: RunConfig | SFTRunConfig,
    ):
        if tasks:
            check_whole(trainer)
        self._trainer = trainer
        self._meter = meter
        self._tasks = tasks
        self._folder = folder
        self._stop = stop
        self._config = config
        self._is_evaluating = False
        self._failure: EvaluationError | InputError | None = None
        self._tokenizer = deepcopy(trainer.processing_class)  # an evaluation may give it a template
        stop.add_reaction(self._interrupt)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._is_due(args, state):
            self.evaluate()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._is_due(args, state):
            try:
                with suppress(Interrupted):  # the run stops after a checkpoint
                    self.evaluate()
            except (EvaluationError, InputError) as failure:  # raised by `finish`, after the checkpoint
                self._failure = failure
                control.should_save = control.should_training_stop = True

    def finish(self) -> None:
        """Evaluate the student at the end of training, unless the last step did; a run may resume when it is over.

        Raises:
            EvaluationError: this evaluation failed, or one during training did.
            InputError: likewise.
        """
        if self._failure is not None:
            raise self._failure
        if self._tasks and self._stop.received is None:
            self.evaluate()

    def evaluate(self) -> None:
        """Evaluate the student as it is, and log what was found. Every process must call it.

        Raises:
            EvaluationError: what a task or its grader does failed.
            InputError: an evaluation is refused.
            Interrupted: a signal was received.
            OutOfSpaceError: a disk is full.
        """
        step = self._trainer.state.global_step
        folder = self._folder.evaluation(step)
        with self._meter.paused():
            if not self._of_first(is_whole(folder)):
                self._write(folder, step)
            figures = self._of_first(figures_of(tasks_of(folder)) if self._is_first else None)
            if not any(entry["step"] == step and figures.keys() <= entry.keys() for entry in self._history):
                self._log(figures)

    def _log(self, figures: dict[str, float]) -> None:
        control = self._trainer.control
        is_step_logged = control.should_log
        with ending_together(self._folder.path):  # loggers write files
            Trainer.log(self._trainer, figures)  # TRL's own would take up figures of training
        control.should_log = is_step_logged  # a log of anything answers for that of the step

    def _write(self, folder: Path, step: int) -> None:
        spent = self._meter.spent()
        with (
            self._trainer.progress_bar.evaluating(),
            whole_student(self._trainer) as student,
            raised_on_all(EvaluationError, InputError),  # here the other processes wait for the first one
            ending_together(self._folder.path),
        ):
            if self._is_first:
                with self._interruptible():
                    self._evaluate_alone(student, folder, step)
                    finish_evaluation(folder, step, spent)
        received = self._stop.exchange()
        if received is not None:
            raise Interrupted(received, step)

    def _evaluate_alone(self, student: Any, folder: Path, step: int) -> None:
        name, log = f"{self._config.student} after {step} steps", FindingLog(is_emitter=False)
        for held in self._tasks:
            arguments = held.task, held.options, held.sampling, folder
            phase(f"evaluating on {held.task.name}")
            with _naming(held.task.name, name, folder):
                evaluate_model(student, self._tokenizer, *arguments, name=name, is_quiet=True, log=log)
        known = {finding.kind for finding in self._trainer.findings.findings}
        self._trainer.findings.add_all(finding for finding in log.findings if finding.kind not in known)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Inside this context a signal raises Interrupted, which ends it."""
        self._is_evaluating = True
        try:
            with suppress(Interrupted):
                self._interrupt()  # it was received before
                yield
        finally:
            self._is_evaluating = False

    def _interrupt(self) -> None:
        """Called by the handler of a signal as well, wherever the evaluation is."""
        if self._is_evaluating and self._stop.received is not None:
            raise Interrupted(self._stop.received, self._trainer.state.global_step)

    def _is_due(self, args: Any, state: Any) -> bool:
        if not self._tasks:
            return False
        wanted = self._config.eval_every or (state.eval_steps if args.eval_strategy == "steps" else None)
        unit = getattr(args, "num_iterations", 1)  # between two batches of rollouts, as checkpoints are taken
        every = math.ceil((wanted or state.max_steps / SHARE) / unit) * unit
        return bool(state.global_step % every == 0 or state.global_step >= state.max_steps)

    @property
    def _history(self) -> list[dict[str, Any]]:
        history: list[dict[str, Any]] = self._trainer.state.log_history
        return history

    @property
    def _is_first(self) -> bool:
        return bool(self._trainer.accelerator.is_main_process)

    def _of_first(self, value: Any) -> Any:
        """What the first process has."""
        return broadcast_object_list([value])[0]


@contextmanager
def _naming(task: str, student: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong in a task, whose grader may be the user's own, into one sentence."""
    try:
        yield
    except (Interrupted, InputError):
        raise
    except Exception as error:
        if out_of_space(error, folder) is not None:
            raise
        place = extract_tb(error.__traceback__)[-1]
        raise EvaluationError(
            f"the evaluation of {student} on the task {task!r} failed ({type(error).__name__} in "
            f"{Path(place.filename).name}, line {place.lineno}: {error}): repair the task or its grader."
        ) from error
