"""Streams in training: their rows are checked as they come, and they must last for all steps.

Overridden of transformers (pinned by tests/train/test_trl_contract.py): ``get_batch_samples`` and ``evaluate``.
"""

from collections.abc import Sequence
from typing import Any

from crossdistill.errors import InputError
from crossdistill.train.generation import GenerationTrainer
from crossdistill.train.off_policy import GIVEN
from crossdistill.train.preflight.data import check_prompts
from crossdistill.train.preflight.datasets import as_eval_data, as_read
from crossdistill.train.preflight.rows import RowCheck
from crossdistill.train.stream import BAD_ROW, NUMBER, ROW, TOO_SHORT, Stream, StreamError, Unreadable
from crossdistill.train.together import raised_on_all


class StreamingTrainer(GenerationTrainer):
    """Raises StreamError for a row that cannot be used, and for a stream that ends before the last step.

    Attributes:
        row_check: what a row must be.
    """

    row_check: RowCheck

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """As transformers' `evaluate`; other data may be of any kind that the trainer takes, and is checked as its own.

        Raises:
            InputError: data that a run cannot use.
        """
        given = eval_dataset
        if not isinstance(given, str):  # the name of one of several data sets that were checked before
            data = as_eval_data(given)
            check_prompts(data, "the evaluation data")
            self.row_check.check_all([data])
            given = as_read(data)
        return super().evaluate(given, ignore_keys, metric_key_prefix)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        stream = Stream.behind(self.train_dataset)
        if stream is not None and len(batches) < num_batches:
            a_step = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            steps = self.args.max_steps
            values = {"seen": stream.num_rows, "steps": steps, "needed": steps * a_step, "a_step": a_step}
            raise StreamError(TOO_SHORT(what=stream.what, **values))
        return batches, num_items

    def _opened(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The rows of a batch; those of a stream are checked."""
        if not batch or not isinstance(batch[0], dict) or batch[0].keys() != {NUMBER, ROW}:
            return batch
        with raised_on_all(StreamError):
            for item in batch:
                self._check(item[NUMBER], item[ROW])
        return [dict(item[ROW]) for item in batch]

    def _check(self, number: int, row: Any) -> None:
        is_training = self.model.training
        needs_completion = is_training and self.args.on_policy_share < 1 and self.args.off_policy == GIVEN
        try:
            if isinstance(row, Unreadable):
                raise InputError(f"the stream fails ({row.reason}).")
            self.row_check.check(number, row, needs_completion)
        except InputError as error:
            what = "the training data" if is_training else "the evaluation data"
            steps = self.state.global_step
            saved = f"The {steps} steps that were trained are in a checkpoint" if steps else "No step was trained"
            way_out = "resume" if steps else "begin again"
            found = BAD_ROW(number=number, what=what, reason=error, saved=saved, way_out=way_out)
            raise StreamError(found) from error
