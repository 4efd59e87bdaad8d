"""Evaluation that counts each row once, with any number of processes and any size of a batch.

accelerate fills the last batch up with rows that were evaluated before, so that all processes have as many passes. Such
padding is sampled and runs through the student, because processes wait for each other, and counts for nothing.

Overridden of TRL and transformers (pinned by tests/train/test_trl_contract.py): ``get_eval_dataloader``, and
``evaluation_loop``, whose loss is a mean of the batches' means.
"""

from typing import Any

from crossdistill.distill import Distiller
from crossdistill.phases import phase
from crossdistill.train.micro_batching import LossSums, MicroBatchingTrainer
from crossdistill.train.stream import Stream


class EvaluatingTrainer(MicroBatchingTrainer):
    """Evaluates by sums over all rows, divided once.

    Attributes:
        distiller: has the objective. One that compares the responses to a prompt has no loss here.
    """

    distiller: Distiller
    _eval_stream: Stream | None = None

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        self._eval_stream = Stream.behind(self.eval_dataset[data] if isinstance(data, str) else data)
        return super().get_eval_dataloader(eval_dataset)

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
        phase("measuring the teacher gap on held-out prompts")
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        sums = self._take_sums()
        self._sums = of_training
        self._metrics["eval"].update({name: [value] for name, value in sums.means().items()})
        output.metrics[f"{metric_key_prefix}_loss"] = sums.mean_loss
        if self.distiller.objective.compares_groups:  # each response is alone
            del output.metrics[f"{metric_key_prefix}_loss"]
        return output

    def num_counted(self, num_rows: int) -> int:
        """How many of this process's rows count; they come first. Those of training do all.

        Args:
            num_rows: of the batch at hand.
        """
        state, processes = self.accelerator.gradient_state, self.accelerator.num_processes
        if self.model.training or processes == 1 or not state.end_of_dataloader:
            return num_rows
        remainder = state.remainder
        if self._eval_stream is not None:  # read to its end by now; accelerate does not know its length
            remainder = (self._eval_stream.num_rows or 0) % (num_rows * processes)
        if remainder <= 0:  # the last batch is full
            return num_rows
        return min(num_rows, max(0, remainder - num_rows * self.accelerator.process_index))
