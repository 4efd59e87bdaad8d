"""The last step is logged, whatever `logging_steps` is: a short run has figures, and every curve its end."""

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy


class LogLastStep(TrainerCallback):
    """Logs the last step of a run that logs at all.

    Example:
        >>> from types import SimpleNamespace
        >>> args, control = SimpleNamespace(logging_strategy="steps"), SimpleNamespace(should_log=False)
        >>> LogLastStep().on_step_end(args, SimpleNamespace(global_step=3, max_steps=3), control)
        >>> control.should_log
        True
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps and args.logging_strategy != IntervalStrategy.NO:
            control.should_log = True
