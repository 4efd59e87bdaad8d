"""A run whose weights are finite: it ends at the optimisation step that spoils them, before that is logged or saved.

Weights are read, and not the norm of the gradient: a step can overflow from finite gradients, and the loss scaling of
float16 leaves out a step with an infinite norm. Overridden of transformers (pinned by
tests/train/test_trl_contract.py): ``_maybe_log_save_evaluate``, which is called between a step and its checkpoint.
"""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer

from crossdistill.distill.student import NOT_FINITE
from crossdistill.findings import FindingError, Kind, Severity, When
from crossdistill.ops import causal_lm
from crossdistill.ops.head import WEIGHT_NOT_FINITE, name_of
from crossdistill.ops.trace import first_weight_not_finite
from crossdistill.train.together import raised_on_all

CHECKPOINT_NOT_FINITE = Kind(
    "checkpoint_not_finite",
    Severity.REFUSAL,
    When.LOADING,
    "the weight {weight} of {checkpoint} has NaN or infinite values: the checkpoint is damaged, or was saved after its "
    "training had overflowed. Delete it, and resume from an earlier one.",
    "the run goes on with a student that is lost",
)


class FiniteTrainer(Trainer):
    """Mixed into a trainer of TRL, in front of it.

    Attributes:
        steps_before: optimisation steps that were made before this training: 0, or the checkpoint's.
    """

    steps_before: int = 0

    def check_loaded(self, checkpoint: Path | None = None) -> None:
        """Check all weights before the first step.

        Args:
            checkpoint: from which they were loaded; None if they are the model's own.

        Raises:
            FindingError: NaN or infinity in one, in all processes alike.
        """
        student = self.accelerator.unwrap_model(self.model)
        with raised_on_all(FindingError):
            found = first_weight_not_finite(student)
            if found is not None and checkpoint is not None:
                raise CHECKPOINT_NOT_FINITE.error(weight=found[0], checkpoint=checkpoint.name)
            if found is not None:
                model = type(causal_lm(student)).__name__
                raise WEIGHT_NOT_FINITE.error(weight=found[0], model=model, dtype=name_of(found[1]))

    def check_trained(self) -> None:
        """Check the weights that an optimisation step has changed.

        Raises:
            FindingError: NaN or infinity in one, in all processes alike.
        """
        student: nn.Module = self.accelerator.unwrap_model(self.model)
        with raised_on_all(FindingError):
            found = first_weight_not_finite(student, only_trained=True)
            if found is not None:
                where = f"the weight {found[0]} ({name_of(found[1])})"
                raise NOT_FINITE.error(step=self.state.global_step, where=where)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        self.check_trained()
        super()._maybe_log_save_evaluate(*args, **kwargs)
