"""Evaluation that counts each row once, with any number of processes and any size of a batch.

accelerate fills the last batch up with rows that were evaluated before, so that all processes have as many passes. Such
padding is sampled and runs through the student, because processes wait for each other, and counts for nothing.

Overridden of transformers (pinned by tests/train/test_trl_contract.py): ``evaluation_loop``, whose loss is a mean of
the batches' means.
"""

from typing import Any

from crossdistill.train.micro_batching import LossSums, MicroBatchingTrainer


class EvaluatingTrainer(MicroBatchingTrainer):
    """Evaluates by sums over all rows, divided once."""

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: Any = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """As transformers' own, with the loss a term, and the objective's figures, over the whole data."""
        of_training, self._sums = self._sums, LossSums()
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        sums = self._take_sums()
        self._sums = of_training
        self._metrics["eval"].update({name: [value] for name, value in sums.means().items()})
        output.metrics[f"{metric_key_prefix}_loss"] = sums.mean_loss
        return output

    def num_counted(self, num_rows: int) -> int:
        """How many of this process's rows count; they come first. Those of training do all.

        Args:
            num_rows: of the batch at hand.
        """
        state = self.accelerator.gradient_state
        if self.model.training or not state.end_of_dataloader or state.remainder <= 0:
            return num_rows
        return min(num_rows, max(0, state.remainder - num_rows * self.accelerator.process_index))
