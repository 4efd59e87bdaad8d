"""Accumulation steps made of micro-batches: rows of similar length, as many as fit a budget of tokens.

TRL cuts a batch of rollouts into `gradient_accumulation_steps` parts of `per_device_train_batch_size` rows each,
whatever their lengths. Here the rows of all parts are sorted by length, and a part that holds more than
`micro_batch_tokens` runs in several forward and backward passes. The loss is divided once, by the items of the global
batch, so the gradient of an optimisation step is the same. All processes make the same number of passes, because
sharded weights are gathered in each.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py): ``_prepare_inputs``, which also lets several
optimisation steps use a rollout, and ``compute_loss``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from accelerate.utils import DistributedType, gather_object
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from crossdistill.train.verifying import VerifyingTrainer

MICRO_BATCHES = "micro_batches"


@dataclass
class LossSums:
    """What is logged of a loss, as sums over micro-batches and processes.

    Attributes:
        weight: terms of the loss.
        loss: sum over these terms.
        stats: of the objective, by name: sums over these terms.
        tokens: supervised tokens.
        entropy: sum over these, in nats.
    """

    weight: float = 0.0
    loss: float = 0.0
    stats: dict[str, float] = field(default_factory=dict)
    tokens: float = 0.0
    entropy: float = 0.0

    def add(self, other: "LossSums") -> None:
        self.weight += other.weight
        self.loss += other.loss
        self.tokens += other.tokens
        self.entropy += other.entropy
        for name, value in other.stats.items():
            self.stats[name] = self.stats.get(name, 0.0) + value

    @property
    def mean_loss(self) -> float:
        """The loss a term; 0 if nothing is supervised."""
        return self.loss / max(1.0, self.weight)

    def means(self) -> dict[str, float]:
        """The other means by name; 0 if nothing is supervised."""
        stats = {name: value / max(1.0, self.weight) for name, value in self.stats.items()}
        return {"entropy": self.entropy / max(1.0, self.tokens), **stats}


class MicroBatchingTrainer(VerifyingTrainer):
    """Runs an accumulation step in micro-batches, and logs means over the whole optimisation step.

    Attributes:
        loss_sums: of the latest micro-batch.
    """

    loss_sums: LossSums

    def __init__(self, *args: Any, **kwargs: Any):
        self._sums = LossSums()
        super().__init__(*args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._sums = LossSums()
        return super().train(*args, **kwargs)

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            rollouts = self._generate_and_score_completions(self._opened(generation_batch))
            return {MICRO_BATCHES: self._cut(rollouts, self.args.per_device_eval_batch_size)}
        accumulation = self.args.gradient_accumulation_steps
        if self.accumulation_step == 0 or self._buffered_inputs is None:
            rollouts = self._generate_and_score_completions(self._opened(generation_batch))
            batches = self._cut(rollouts, self.args.per_device_train_batch_size)
            edges = [len(batches) * step // accumulation for step in range(accumulation + 1)]
            self._buffered_inputs = [batches[edges[step] : edges[step + 1]] for step in range(accumulation)]
        return {MICRO_BATCHES: self._buffered_inputs[self._step % accumulation]}

    def _cut(self, rollouts: Mapping[str, Tensor], max_rows: int) -> list[dict[str, Tensor]]:
        """Rollouts as micro-batches; a value without rows belongs to each."""
        lengths = rollouts["attention_mask"].sum(1).tolist()
        return [
            {name: value[rows] if value.dim() else value for name, value in rollouts.items()}
            for rows in self.micro_batches(lengths, max_rows)
        ]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of an accumulation step; of its gradient all but the last micro-batch's is in place already."""
        *earlier, last = inputs[MICRO_BATCHES]
        total: Any = 0.0
        self.micro_batch = 0
        for batch in earlier:
            with self._gradients_kept(model):
                loss = self._loss_of(model, batch)
                if self.model.training:
                    self._backward(loss)
            total = total + loss.detach()
            self.micro_batch += 1
        total = total + self._loss_of(model, last)
        if self.model.training and self.accelerator.sync_gradients:
            for name, value in self._take_sums().means().items():
                self._metrics["train"][name].append(value)
        return (total, None) if return_outputs else total

    def _loss_of(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        mode = "train" if self.model.training else "eval"
        loss: Tensor = super().compute_loss(model, batch)
        self._metrics[mode]["entropy"].pop()  # TRL's is a mean over this micro-batch alone
        self._sums.add(self.loss_sums)
        return loss

    def _backward(self, loss: Tensor) -> None:
        is_deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        self.accelerator.backward(loss, **({"scale_wrt_gas": False} if is_deepspeed else {}))  # as transformers does

    @contextmanager
    def _gradients_kept(self, model: Any) -> Iterator[None]:
        """Gradients stay where they are, unless the accumulation step keeps them there already.

        Sharded ones are reduced nevertheless: whole, they would take the memory that sharding saves.
        """
        state = self.accelerator.gradient_state
        if not (self.model.training and state.sync_gradients):
            yield
            return
        state._set_sync_gradients(False)  # DeepSpeed would step
        try:
            with model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext():
                yield
        finally:
            state._set_sync_gradients(True)

    def _take_sums(self) -> LossSums:
        """The sums since the last call, of all processes. Every process must call it."""
        total = LossSums()
        for of_process in gather_object([self._sums]):
            total.add(of_process)
        self._sums = LossSums()
        return total
