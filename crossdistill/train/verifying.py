"""The policy that trains is the policy that sampled: measured at the first step on each rollout.

Overrides ``train`` and ``compute_loss`` of TRL 1.16 (pinned by tests/train/test_trl_contract.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from crossdistill.distill import ScoredBatch
from crossdistill.distill.policy_probe import PolicyProbe
from crossdistill.distill.student import supervised_logprobs
from crossdistill.ops import HiddenStates
from crossdistill.train.checkpointing import CheckpointingTrainer
from crossdistill.train.monitor.policy_check import PolicyCheck


class VerifyingTrainer(CheckpointingTrainer):
    """Stops at the first step of a run, or of a resumed run, if the policy that trains is another one.

    Attributes:
        policy: measures, and judges.
    """

    policy: PolicyCheck

    def measure_drift(self, batch: ScoredBatch, rows: Sequence[int], states: HiddenStates) -> None:
        """Measure a micro-batch of the first optimisation step on its rollout; of any other, nothing.

        Args:
            batch: the rollout.
            rows: of the micro-batch.
            states: those that predict their supervised tokens, in the pass that trains.
        """
        if not self.model.training or self.micro_batch >= self.args.gradient_accumulation_steps:
            return
        is_same_engine = not (self.use_vllm and batch.rollout.is_sampled)
        temperature = self.scoring_temperature if is_same_engine else self.temperature
        self.policy.measure(self.micro_batch, batch.rows(rows), states, temperature, is_same_engine)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """As TRL's, and judges what was measured: outside of the pass that trains, where processes may wait."""
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        drift = self.policy.judge(self.state.global_step, self._probe(inputs))
        if drift is not None:
            self._metrics["train"]["policy_drift"].append(drift)
        return result

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        self.policy.begin()
        self._step, self._buffered_inputs = 0, None  # as the order of the data, rollouts begin anew
        return super().train(resume_from_checkpoint, **kwargs)

    def total(self, values: Sequence[float]) -> list[float]:
        """Numbers added up over processes. Every process must call it."""
        of_this = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        total: list[float] = self.accelerator.reduce(of_this, "sum").tolist()
        return total

    def _probe(self, inputs: Any) -> PolicyProbe:
        arguments = inputs, inputs["loss_mask"], self.scoring_temperature
        student = self.accelerator.unwrap_model(self.model)
        return PolicyProbe(student, lambda: self.through_wrappers(supervised_logprobs, *arguments))
