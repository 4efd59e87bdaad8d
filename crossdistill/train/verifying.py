"""The policy that trains is the policy that sampled: measured at the first step on each rollout; and it is finite.

Overrides ``train`` and ``compute_loss`` of TRL 1.16 (pinned by tests/train/test_trl_contract.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from crossdistill.distill import Rollout, ScoredBatch
from crossdistill.distill.policy_drift import OTHER_ENGINE, numerics_of
from crossdistill.distill.policy_probe import PolicyProbe
from crossdistill.distill.student import NOT_FINITE, StudentInputs, collate, supervised_logprobs
from crossdistill.findings import FindingError
from crossdistill.ops import HiddenStates
from crossdistill.ops.head import not_finite
from crossdistill.ops.mode import in_mode
from crossdistill.ops.trace import where_not_finite
from crossdistill.train.checkpointing import CheckpointingTrainer
from crossdistill.train.monitor.policy_check import PolicyCheck


class VerifyingTrainer(CheckpointingTrainer):
    """Stops at the first step of a run, or of a resumed run, if the policy that trains is another one.

    Attributes:
        policy: measures, and judges.
        micro_batch: number of the micro-batch at hand in its accumulation step, from 0.
    """

    policy: PolicyCheck
    micro_batch: int

    def measure_drift(self, batch: ScoredBatch, rows: Sequence[int], states: HiddenStates) -> None:
        """Measure a micro-batch of the first optimisation step on its rollout; of any other, nothing.

        Args:
            batch: the rollout.
            rows: of the micro-batch.
            states: those that predict their supervised tokens, in the pass that trains.
        """
        if not self.model.training or self.accumulation_step >= self.args.gradient_accumulation_steps:
            return
        is_same_engine = not (self.use_vllm and batch.rollout.is_sampled)
        temperature = self.scoring_temperature if is_same_engine else self.temperature
        is_first = self.accumulation_step == self.micro_batch == 0
        numerics = numerics_of(states, is_decoded=not self.is_rescored) if is_same_engine else OTHER_ENGINE
        self.policy.measure(is_first, batch.rows(rows), states, temperature, numerics, is_same_engine)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """As TRL's, and judges what was measured: outside of the pass that trains, where processes may wait."""
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        drift = self.policy.judge(self.state.global_step, self._probe(inputs))
        if drift is not None:
            self._metrics["train"]["policy_drift"].append(drift)
        return result

    def sample(self, rows: Sequence[Mapping[str, Any]]) -> Rollout:
        """As :meth:`GenerationTrainer.sample`; of weights or logits that have overflowed it says where.

        Raises:
            FindingError: they have; in all processes alike if it is the weights.
        """
        if self.state.global_step == self.steps_before:  # later weights are checked after each step
            self.check_loaded()
        try:
            rollout = super().sample(rows)
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # torch's words for NaN or infinity
                raise
            ids = [self.student_side.render(row["prompt"]) for row in rows]
            inputs = collate(ids, [[] for _ in ids], self._tokenizer.pad_token_id, self.accelerator.device)
            raise self.not_finite(inputs) from None
        if self.use_vllm and self.model.training:
            self.policy.check_sync(self.state.global_step, self.vllm_generation.probe, rollout.prompt_ids[0])
        return rollout

    def not_finite(self, inputs: StudentInputs) -> FindingError:
        """The error that names the weight or layer that has overflowed, as far as this process finds it by itself."""
        student, step, where = self._student, self.state.global_step, None
        passed = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        if not self._is_sharded:  # there a pass is one of all processes
            with in_mode(student, training=False), self.accelerator.autocast():
                if step == self.steps_before:
                    return not_finite(student, lambda: student(**passed))
                where = where_not_finite(student, lambda: student(**passed))
        return NOT_FINITE.error(step=step, where=where or "its weights or logits")

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        self.policy.begin()
        self._step, self._buffered_inputs = 0, None  # as the order of the data, rollouts begin anew
        self._last_loaded_step = -1  # TRL keeps it between two trainings, and would leave out the first sync
        return super().train(resume_from_checkpoint, **kwargs)

    def total(self, values: Sequence[float]) -> list[float]:
        """Numbers added up over processes. Every process must call it."""
        of_this = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        total: list[float] = self.accelerator.reduce(of_this, "sum").tolist()
        return total

    def _probe(self, inputs: Any) -> PolicyProbe:
        arguments = inputs, inputs["loss_mask"], self.scoring_temperature
        return PolicyProbe(self._student, lambda: self.through_wrappers(supervised_logprobs, *arguments))
