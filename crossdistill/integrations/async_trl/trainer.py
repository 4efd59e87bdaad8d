"""TRL's AsyncDistillationTrainer with the loss of a Distiller's objective.

Overridden of TRL 1.16 (pinned by tests/integrations/async_trl/test_contract.py): ``get_train_dataloader`` (samples
with advantages, none drawn ahead), ``get_batch_samples`` (the items of a whole step), ``compute_loss`` and
``_compute_loss`` (the clipped objective in place of a divergence over one vocabulary), ``_sync_weight`` (failures that
all processes raise), ``_save_checkpoint`` and ``_inner_training_loop`` (the place in the data). LoRA, callbacks,
distribution and logs are inherited.
"""

import json
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.distill.noise import named, switch_off
from crossdistill.distill.policy_drift import OTHER_ENGINE, OTHER_POLICY, PolicyDrift
from crossdistill.errors import InputError, ServerError
from crossdistill.integrations.async_trl.arrival import NUM_TEXTS, Arrival, policy_logprobs, texts_of
from crossdistill.integrations.async_trl.checks import check_args, check_objective, check_packing
from crossdistill.integrations.async_trl.micro_batches import FreshSamples, MicroBatches, PackedSamples
from crossdistill.integrations.async_trl.monitors import Monitors
from crossdistill.integrations.async_trl.pace import Pace
from crossdistill.integrations.async_trl.weight_updates import ERRORS, WeightUpdates
from crossdistill.integrations.async_trl.worker import RolloutWorker
from crossdistill.objectives.base import LossSum
from crossdistill.ops import LMHead, TokenLogprobs, token_logprobs
from crossdistill.ops.backbone import backbone_of, causal_lm
from crossdistill.train.preflight.noise import SWITCHED_OFF
from crossdistill.train.together import raised_on_all

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="You are importing from 'trl.experimental'")
    from trl.experimental.async_distillation import AsyncDistillationConfig, AsyncDistillationTrainer

STATE_FILE = "rollout_state.json"
_LOGGER = logging.getLogger("crossdistill")


class AsyncTrainer(AsyncDistillationTrainer):
    """Trains on what a worker sampled and scored up to `max_staleness` weight updates before.

    The importance ratio corrects for the age of a sample: its old log-probs are those of the engine that sampled it.
    With ``max_staleness = 0`` it is the synchronous algorithm.

    Args:
        model: the student's folder or hub id.
        worker: samples and scores; its Distiller has the objective ("dpca" with any of its options).
        args: TRL's configuration; settings that belong to TRL's own loss or sampling are refused.
        weight_transfer: brings the weights to the sampler; by default TRL's to a vLLM server, over NCCL.
        callbacks: as for TRL's trainer.
        optimizers: likewise.
        peft_config: likewise.

    Raises:
        InputError: something that cannot work.
    """

    _tag_names = ("trl", "crossdistill")
    weight_transfer: Any  # of TRL's, which has no types
    model_version: int

    def __init__(
        self,
        model: str,
        worker: RolloutWorker,
        args: AsyncDistillationConfig | None = None,
        *,
        weight_transfer: Any = None,
        min_coverage: float | None = None,
        low_coverage: str = "stop",
        callbacks: list[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        peft_config: Any = None,
    ):
        args = AsyncDistillationConfig("crossdistill-output") if args is None else args
        self.distiller = worker.distiller
        self.objective = check_objective(self.distiller)
        check_args(args)
        self.monitors = Monitors(self.distiller, min_coverage, low_coverage)
        if not torch.cuda.is_available():  # the default of TRL needs a GPU
            args.model_init_kwargs = {"attn_implementation": "sdpa", **(args.model_init_kwargs or {})}
        state = PartialState()
        with raised_on_all(*ERRORS):
            if state.is_main_process:
                worker.sampler.check()
        super().__init__(
            model,
            args,
            train_dataset=Dataset.from_dict({"row": range(len(worker.rows))}),
            processing_class=self.distiller.renderer.tokenizer,
            callbacks=callbacks,
            optimizers=optimizers,
            peft_config=peft_config,
            rollout_worker=worker,
            weight_transfer=weight_transfer,
        )
        if self.is_deepspeed_enabled:
            raise InputError("DeepSpeed is not supported here: run with FSDP2 or DDP, or train synchronously.")
        student = self.accelerator.unwrap_model(self.model)
        noise = switch_off(student)
        if noise:
            _LOGGER.warning(SWITCHED_OFF(sources=named(noise)).message)
        LMHead.from_model(student).verify(student)
        check_packing(student)
        if self.weight_transfer is not None:
            self.weight_transfer = WeightUpdates(self.weight_transfer)
        with raised_on_all(*ERRORS):
            if state.is_main_process and hasattr(weight_transfer, "check_student"):
                weight_transfer.check_student(student.config.get_text_config().tie_word_embeddings)
        prompts = [as_prompt(worker.rows[k]["prompt"], prompt_name(k)) for k in range(min(NUM_TEXTS, len(worker.rows)))]
        self._arrival = Arrival(texts_of([self.distiller.renderer.render(prompt) for prompt in prompts]))
        self._has_begun = False
        self._num_items: Tensor | int = 1
        self._drawn_prompts: list[int] = []
        for callback in (_OptimizerStep(self), self.monitors, self.monitors.guard):
            self.add_callback(callback)

    # ---- data -------------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> MicroBatches:
        processes = self.accelerator.num_processes
        size = self.args.per_device_train_batch_size * processes
        samples = None
        if self.accelerator.is_main_process:
            samples = FreshSamples(
                self.rollout_worker,
                lambda: self.model_version,
                self.args.max_staleness,
                self.args.heartbeat_stale_after_s,
                self._metrics["train"],
                self.monitors.see,
            )
            self._rollout_dataset = samples
        return MicroBatches(samples, size, lambda: self.model_version, self._drawn_prompts.extend)

    def get_batch_samples(
        self, epoch_iterator: Iterator[PackedSamples], num_batches: int, device: torch.device
    ) -> tuple[list[PackedSamples], Tensor]:
        """The micro-batches of a step, and the terms of its loss on all processes."""
        self._drawn_prompts.clear()
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, torch.stack([batch["weight"] for batch in batches]).sum().clamp(min=1.0).to(device)

    # ---- loss -------------------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: PackedSamples, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self._num_items = num_items_in_batch
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _compute_loss(self, unwrapped_model: Any, inputs: PackedSamples) -> Tensor:
        """The clipped objective on a packed row, divided once by the items of the whole step."""
        began = time.time()
        with self.accelerator.autocast():  # the redirection passes by the one that accelerate puts on the forward
            output = backbone_of(causal_lm(unwrapped_model))(
                input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False
            )
            mask = inputs["loss_mask"][0, 1:]  # the state before a token predicts it
            hidden = output.last_hidden_state[0, :-1][mask]
            ids, old, advantages, staleness = (
                inputs[name][0, 1:][mask] for name in ("input_ids", "old_logprobs", "advantages", "staleness")
            )
            policy = token_logprobs(hidden, LMHead.from_model(unwrapped_model), ids, self.distiller.temperature)
        loss = self.objective.clipped(policy.logprobs, old, advantages)
        self._step_forward_s += time.time() - began
        self._log_policy(loss, policy, old, staleness)
        self._count(inputs)
        return loss.total * self.accelerator.num_processes / self._num_items  # DDP and FSDP average over processes

    @torch.no_grad()
    def _log_policy(self, loss: LossSum, policy: TokenLogprobs, old: Tensor, staleness: Tensor) -> None:
        """Metrics of the importance ratio.

        Raises:
            FindingError: samples of the policy that trains have other log-probabilities than it gives them.
        """
        drift, fresh = (policy.logprobs - old).abs(), staleness == 0
        sums = [*loss.stats.values(), policy.entropy.sum(), drift.sum(), drift[fresh].sum(), fresh.sum()]
        total = torch.stack([value.detach().float() for value in [*sums, torch.ones_like(old).sum()]])
        *values, fresh_drift, num_fresh, count = self.accelerator.reduce(total, reduction="sum").tolist()
        for name, value in zip([*loss.stats, "entropy", "abs_log_ratio"], values, strict=True):
            self._metrics["train"][name].append((value, count))
        unexplained = OTHER_ENGINE.unexplained(PolicyDrift(num_fresh, fresh_drift))
        if unexplained is not None:
            way_out = "see whether the weights reach the sampler, and whether it samples at the Distiller's temperature"
            raise OTHER_POLICY.error(**unexplained, way_out=way_out)

    def _count(self, inputs: PackedSamples) -> None:
        """What TRL's throughput metrics are made of."""
        tokens, length = float(inputs["num_tokens"]), float(inputs["mean_length"])
        self._step_forward_tokens += tokens
        self._step_trained_tokens += float(inputs["weight"])
        self._step_seq_len_weighted += length * tokens
        self._step_samples += tokens / length

    # ---- weights ----------------------------------------------------------------------------------------------------

    def _sync_weight(self) -> None:
        """Send the weights to the engine that samples.

        Raises:
            InputError, ServerError, OutOfSpaceError: they did not arrive; in all processes alike.
        """
        with raised_on_all(*ERRORS):
            super()._sync_weight()
            if self.weight_transfer is not None:
                self.weight_transfer.raise_failure()
        texts = self._arrival.texts
        if not texts:
            return
        student = self.accelerator.unwrap_model(self.model)
        with self.accelerator.autocast():
            policy = self._forward_redirection(self.model_wrapped, student, policy_logprobs, student, texts)
        with raised_on_all(*ERRORS):
            if self.accelerator.is_main_process:
                self._arrival.ask(self.rollout_worker.sampler, policy)

    # ---- from checkpoint to checkpoint ------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            state = {"prompt_index": self._next_prompt, "model_version": self.model_version}
            (folder / STATE_FILE).write_text(json.dumps(state))
            self.monitors.save(folder)
        super()._save_checkpoint(model, trial)

    @property
    def _next_prompt(self) -> int:
        """Number of the first prompt that no step was trained on; they are trained on in order."""
        return max(self._trained_prompts, default=self._prompts_before_resume - 1) + 1

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        if self._has_begun:
            raise InputError(
                "an AsyncTrainer trains once: make another one, with resume_from_checkpoint if the run is to go on."
            )
        self._has_begun = True
        checkpoint = kwargs.get("resume_from_checkpoint")
        first_step, state = 0, {"prompt_index": 0, "model_version": 0}
        if checkpoint is not None:
            path = Path(checkpoint) / STATE_FILE
            if not path.exists():
                raise InputError(f"{checkpoint} has no {STATE_FILE}: it is not a checkpoint of an asynchronous run.")
            state = json.loads(path.read_text())
            self.monitors.load(path.parent)
            first_step = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME)).global_step
        self._prompts_before_resume, self.model_version = state["prompt_index"], state["model_version"]
        if self.rollout_worker is not None:
            samples = self.args.per_device_train_batch_size * self.accelerator.num_processes
            self.rollout_worker.keep_pace(
                Pace(
                    samples * self.args.gradient_accumulation_steps,
                    self.args.max_staleness,
                    self.args.weight_sync_steps,
                    first_step,
                    self.model_version + 1,  # the weights are sent once before sampling begins
                ),
                self._prompts_before_resume,
            )
        try:
            result = super()._inner_training_loop(*args, **kwargs)
        except ServerError:  # between two steps: the last one is whole
            if self.state.global_step > first_step:
                self._save_checkpoint(self.model, None)
            raise
        self.monitors.guard.check()
        return result


class _OptimizerStep(TrainerCallback):
    """Prompts are trained on once the optimizer has stepped: a run can end while a step's samples are drawn."""

    def __init__(self, trainer: AsyncTrainer):
        self._trainer = trainer

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._trainer._trained_prompts.update(self._trainer._drawn_prompts)
