"""TRL's trainer for SFT, which can be resumed and counts what it spends."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from crossdistill.costs import Part
from crossdistill.findings import FindingLog
from crossdistill.phases import phase
from crossdistill.runs.held_out_loss import LossOfRows, Watched, row_sums
from crossdistill.train.checkpoint import Contents
from crossdistill.train.monitor.usage import FILE_NAME as USAGE_FILE
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.resumable import ResumableTrainer, ending_together


class ResumableSFTTrainer(ResumableTrainer, SFTTrainer):
    """TRL's trainer; it goes on from whole checkpoints, and leaves no half-written one on a full disk.

    Attributes:
        findings: what was found that does not end the run.
        usage: what this process has spent.
        data: what became of the rows of training and evaluation, as in ``run.json``.
    """

    findings: FindingLog
    usage: Usage
    data: dict[str, Any]
    _held_out: LossOfRows

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        """As :meth:`ResumableTrainer.train`."""
        checkpoint = self._checkpoint_to_resume(resume_from_checkpoint)
        self.usage.start()
        if checkpoint is not None:
            self.usage.load(checkpoint)
        return super().train(checkpoint, **kwargs)

    def begin_training(self) -> None:
        """Training begins now: an evaluation before it does not change its time."""
        self.usage.start()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        lengths = example_lengths(inputs)
        if model.training:
            self.usage.see_rows(Part.SFT_STEP, lengths)
            return super().compute_loss(model, inputs, *args, **kwargs)
        watched = Watched(model)
        loss = super().compute_loss(watched, inputs, *args, **kwargs)
        sums = row_sums(watched.output.log_probs, watched.output.label_mask, lengths)
        self._held_out.rows += map(tuple, self.accelerator.gather_for_metrics(sums).tolist())
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers' `evaluate`; training does not notice it."""
        with self.usage.paused(), torch.random.fork_rng():
            return super().evaluate(*args, **kwargs)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """As transformers' own, with the loss a token over all rows, and its standard error."""
        self._held_out = LossOfRows()
        phase("measuring the loss on held-out rows")
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        output.metrics.update(self._held_out.metrics(metric_key_prefix))
        return output

    def card_facts(self) -> dict[str, Any]:
        return {**self.usage.total().as_dict(), "coverage": None, **super().card_facts()}

    @property
    def checkpoint_contents(self) -> Contents:
        return replace(super().checkpoint_contents, own=(USAGE_FILE,))

    def _save_own_state(self, checkpoint: Path) -> None:
        with ending_together(checkpoint.parent):
            self.usage.save(checkpoint, self.accelerator.is_main_process)
        super()._save_own_state(checkpoint)


def example_lengths(inputs: dict[str, Any]) -> list[int]:
    """Tokens of each example of a batch of TRL: of a padded one, or of one row in which they follow each other.

    Example:
        >>> import torch
        >>> example_lengths({"attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])})
        [3, 1]
        >>> example_lengths({"position_ids": torch.tensor([[0, 1, 2, 0]])})
        [3, 1]
    """
    if "attention_mask" in inputs:
        lengths: list[int] = inputs["attention_mask"].sum(1).tolist()
        return lengths
    positions = inputs["position_ids"][0].tolist()
    starts = [index for index, position in enumerate(positions) if position == 0]
    return [end - start for start, end in pairwise([*starts, len(positions)])]
