"""The trainer: TRL's DistillationTrainer as a caller of :class:`crossdistill.distill.Distiller`.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py), in addition to what the modules `generation`,
`checkpointing`, `verifying`, `micro_batching` and `evaluation` override: ``_generate_and_score_completions`` (adds the
teacher's signal), ``_compute_loss`` (the objective instead of a divergence over one vocabulary) and ``log`` (metrics).
Generation, tools, PEFT, distribution, loggers and the hub are inherited.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate.utils import set_seed
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase, TrainerCallback

from crossdistill.chat import stop_ids
from crossdistill.chat.messages import Prompt
from crossdistill.chat.prompts import as_prompt, prompt_name, with_prompt
from crossdistill.costs import Part
from crossdistill.distill import Rollout, ScoredBatch, ScoredResponse
from crossdistill.distill.checks import scoring_temperature
from crossdistill.distill.routing import COLUMN
from crossdistill.distill.student import StudentInputs, check_finite, collate, supervised_states
from crossdistill.errors import EvaluationError, InputError, OutOfSpaceError, TeacherError
from crossdistill.findings import FindingError
from crossdistill.flops import ModelFlops
from crossdistill.objectives import Objective
from crossdistill.teachers import Teacher
from crossdistill.teachers.base import TeacherFindingError
from crossdistill.tokens import ByteVocab
from crossdistill.train.assembly import distiller_of
from crossdistill.train.cards import name_of
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.evaluation import EvaluatingTrainer
from crossdistill.train.event_files import keep_event_files
from crossdistill.train.loading import load_teacher, student_for_trl
from crossdistill.train.micro_batching import LossSums
from crossdistill.train.monitor.base import Observation
from crossdistill.train.monitor.coverage_guard import CoverageGuard
from crossdistill.train.monitor.first_rollouts import FirstRollouts
from crossdistill.train.monitor.histories import history_counts
from crossdistill.train.monitor.policy_check import PolicyCheck
from crossdistill.train.monitor.progress_bar import ProgressBar, use_progress_bar
from crossdistill.train.monitor.run_monitors import RunMonitors
from crossdistill.train.off_policy import OffPolicyResponses
from crossdistill.train.preflight.arguments import check_arguments
from crossdistill.train.preflight.datasets import as_data, as_eval_data, as_read
from crossdistill.train.preflight.launch import check_launch, check_together, engine_findings
from crossdistill.train.preflight.noise import check_noise
from crossdistill.train.preflight.setup import Setup, setting_up
from crossdistill.train.preflight.sizes import size_findings
from crossdistill.train.preflight.student import made_ready
from crossdistill.train.preflight.teachers import models_by_name
from crossdistill.train.preflight.turns import asks_for_sharding, check_turns
from crossdistill.train.reward.metrics import RewardMetrics
from crossdistill.train.reward.run_reward import RunReward
from crossdistill.train.together import raised_on_all
from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs


class CrossTokenizerTrainer(EvaluatingTrainer):
    """Trains a student on its own samples under a teacher with another tokenizer.

    Args:
        model: the student: a folder, a hub id, or a model.
        teacher: a folder, a hub id, a model (with `teacher_processing_class`), the URL of a server, or any
            :class:`crossdistill.teachers.Teacher`; or several by name (:class:`crossdistill.distill.Routing`), of which
            one of the name ``reference`` is subtracted.
        args: the configuration.
        train_dataset: rows with a ``prompt``: a text, which both models continue as it stands, or a list of messages,
            which each model's own chat template renders. A data set of `datasets` or torch, or a list of rows.
        eval_dataset: likewise; or several by name.
        processing_class: the student's tokenizer, or its name; that of the model's folder if left out.
        teacher_processing_class: the teacher's; likewise. By name if there are several.
        callbacks: as for TRL's trainer.
        optimizers: likewise.
        quantization_config: likewise.
        peft_config: likewise.
        tools: functions that the student may call, as for TRL's trainer. Its turns are supervised one by one; the
            tools' results are not.

    Attributes:
        distiller: scores rollouts and computes the loss.
        scored: the responses of the latest batch (their turns, if tools are called), with alignments and advantages.
        student_vocab: the student's tokens as bytes.
        teachers: by name; ``"teacher"`` if there is one.
        teacher_names: what the model card calls them.
        reward: grades the responses beside the teacher; None if the configuration names no reward.
        choice: the objective's name and options, and why it was chosen if the configuration says "auto".
        findings: what was found that may harm the run and does not end it.
        monitors: watch the run and change no gradient.
        coverage_guard: what share of the bytes the pair can supervise, and what the run must reach.

    Raises:
        InputError: something that cannot work, before a model is loaded if that is possible.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "crossdistill"]
    _name = "CrossTokenizer"

    def __init__(
        self,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | str | Path | None = None,
        teacher_processing_class: PreTrainedTokenizerBase | str | Path | Mapping[str, Any] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
        tools: list[Callable[..., Any]] | None = None,
    ):
        args = CrossTokenizerConfig("crossdistill-output") if args is None else args
        check_arguments(model, teacher, args, callbacks, optimizers, peft_config, tools)
        check_launch()
        check_together(args.world_size)
        check_turns(tools, args, asks_for_sharding(args))
        tokenizers = processing_class, teacher_processing_class
        train_data, eval_data = as_data(train_dataset, "the training data"), as_eval_data(eval_dataset)
        setup = Setup.of(model, teacher, args, (train_data, eval_data), tokenizers, tools, quantization_config)
        self.student_name = name_of(setup.student)
        self.teacher_names = {name: name_of(one) for name, one in models_by_name(teacher).items()}
        self.findings, self.row_check = setup.findings, setup.row_check
        check_noise(setup.student, args, peft_config)
        has_adapter, has_optimizer = peft_config is not None, optimizers[0] is not None
        self.findings.add_all(size_findings(setup.student, setup.teachers, args, has_adapter, has_optimizer))
        with setting_up(), student_for_trl(setup.student, args, quantization_config) as student_arguments:
            super().__init__(
                **student_arguments,
                teacher_model=None,
                args=args,
                train_dataset=as_read(train_data),
                eval_dataset=as_read(eval_data),
                processing_class=setup.tokenizer,
                callbacks=None if callbacks is None else list(callbacks),
                optimizers=optimizers,
                peft_config=peft_config,
                tools=tools,
            )
        keep_event_files(self)
        student = self.accelerator.unwrap_model(self.model)
        self.findings.add_all(engine_findings(self.accelerator.distributed_type))
        check_turns(tools, args, self.is_fsdp_enabled)
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self.findings.add_all(made_ready(student, args, is_sharded, has_optimizer=optimizers[0] is not None))
        self.stop_at(stop_ids(setup.tokenizer, self.eos_token_ids))
        self.routing = setup.routing
        self.teachers = {
            name: load_teacher(one.model, one.label, one.tokenizer, args, self.accelerator.device, one.template_kwargs)
            for name, one in setup.teachers.items()
        }
        self.distiller, self.choice = distiller_of(
            setup, args, self.teachers, student, self.student_side, self.eos_token_ids
        )
        self.distiller.is_verified = True  # by self.policy, which finds the cause
        self.scoring_temperature = scoring_temperature(self.objective, self.temperature)
        self._off_policy = None
        if args.on_policy_share < 1:
            parts = self.student_side, self.student_vocab, list(self.teachers.values())
            self._off_policy = OffPolicyResponses(args, *parts, self.findings)
        if self.use_vllm:
            self.vllm_generation = KeepSampledLogprobs(self.vllm_generation, student)
        self.reward: RunReward | None = None
        if (reward := args.make_reward()) is not None:
            self.reward = RunReward(reward, self.student_vocab, self.eos_token_ids)
        self.scored: list[ScoredResponse] = []
        self._batches: dict[str, ScoredBatch] = {}
        self._teacher_renderers = {name: one.renderer(self.tools) for name, one in setup.teachers.items()}
        self._watch(setup, student)

    def _watch(self, setup: Setup, student: Any) -> None:
        args = self.args
        labels = {name: one.label for name, one in setup.teachers.items()}
        monitors = RunMonitors(
            self.distiller,
            self._teacher_renderers,
            labels,
            setup.routing,
            ModelFlops.of(student),
            args.num_iterations,
            self.accelerator.is_main_process,
            self._logs,
            self.findings,
            args.stop_unit,
        )
        self.monitors = monitors.all
        self.reward_metrics = None
        if self.reward is not None:
            self.reward_metrics = RewardMetrics(self.reward, str(args.reward), self.total, self.findings)
            self.monitors.append(self.reward_metrics)
        self.monitors.append(FirstRollouts(self.findings, args.max_completion_length, args.stop_unit))
        self.policy = PolicyCheck(monitors.watchdog, monitors.sampler, self.total)
        self.usage, self.metrics, self.watchdog = monitors.usage, monitors.metrics, monitors.watchdog
        use_progress_bar(self, ProgressBar())
        vocabs = [teacher.vocab for teacher in self.teachers.values()]
        coverage = args.min_coverage, args.low_coverage, args.num_iterations
        self.coverage_guard = CoverageGuard(self.student_vocab, vocabs, lambda: self.total_usage().coverage, *coverage)
        self.add_callback(self.coverage_guard)

    @property
    def teacher(self) -> Teacher:
        """The first teacher."""
        return next(iter(self.teachers.values()))

    @property
    def objective(self) -> Objective:
        """The objective of the run."""
        return self.distiller.objective

    @property
    def student_vocab(self) -> ByteVocab:
        """The student's tokens as bytes."""
        return self.distiller.vocab

    def begin_training(self) -> None:
        """Training begins now: an evaluation before it changes neither its samples nor its time."""
        set_seed(self.args.seed, device_specific=True)
        self.distiller.timers.take()
        self.usage.start()

    # ---- the step: TRL calls the first function once a rollout, the second for each micro-batch ---------------------

    def _generate_and_score_completions(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Sample -> score: a batch of rollouts as tensors for the loss."""
        rows = [with_prompt(row) for row in rows]
        mode = "train" if self.model.training else "eval"
        given = None
        if self._off_policy is not None and mode == "train":
            given = self._off_policy.rollout(rows, self.state.global_step)
        inputs, batch = self._sample_and_score(rows, given)
        batch = batch.first(self.num_counted(len(rows)))
        seen = self._observation(mode, batch)
        for monitor in self.monitors:
            monitor.see(seen)
        self.scored, self._batches[mode] = batch.responses, batch
        device = inputs["input_ids"].device
        weight = torch.tensor(batch.weight, dtype=torch.float64, device=device)
        return {
            **inputs,
            "loss_mask": pad(batch.loss_mask, (0, 0, 0, len(rows) - len(batch.loss_mask))).to(device),
            "row": torch.arange(len(rows), device=device),  # finds its responses again: TRL's batches hold tensors only
            "num_items_in_batch": self.accelerator.gather(weight.float()).sum(),
        }

    def _sample_and_score(
        self, rows: Sequence[Mapping[str, Any]], given: Rollout | None = None
    ) -> tuple[StudentInputs, ScoredBatch]:
        """Sample, and score; a remote teacher scores what was sampled while more is."""
        distiller, timed = self.distiller, self.distiller.timers.timed
        self._turn_logprobs.clear()  # those of a rollout that failed are of no use
        for monitor in self.monitors:
            monitor.see_prompts(rows)
        with distiller.cancelled_on_error():
            parts = []
            for portion in [rows] if given else self.portions(rows):
                with timed("rollout"):
                    rollout = given or self.sample(portion)
                parts.append(distiller.submit(rollout))
            rollout = Rollout.concatenate([part.rollout for part in parts])
            pad_id, device = self._tokenizer.pad_token_id, self.accelerator.device
            inputs = collate(rollout.prompt_ids, rollout.completion_ids, pad_id, device)
            with timed("student"):
                ends = [position for part in parts for position in part.stop_positions]
                old_logprobs = self.old_logprobs(rollout, inputs, ends)
            with raised_on_all(
                TeacherError, TeacherFindingError, FindingError, EvaluationError, OutOfSpaceError, InputError
            ):
                check_finite(old_logprobs.tokens, lambda: self.not_finite(inputs))
                rewards = None
                if self.reward is not None and self.model.training:
                    with timed("reward"):  # a remote teacher scores in the meantime
                        rewards = self.reward.of(rows, rollout)
                return inputs, distiller.collect(parts, old_logprobs, rewards)

    def _compute_loss(
        self, unwrapped_student: Any, inputs: Any, num_items_in_batch: Any
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """-> loss: the objective on some rows of the latest batch, divided once by the items of the global batch."""
        mask, batch = inputs["loss_mask"], self._batches["train" if self.model.training else "eval"]
        with self.accelerator.autocast():  # the redirection passes by the one that accelerate puts on the forward
            states = supervised_states(unwrapped_student, inputs, mask)
            rows = [row for row in inputs["row"].tolist() if row < len(batch.loss_mask)]  # the rest is padding
            loss = self.distiller.loss_sum(batch, rows, *states)
            self.measure_drift(batch, rows, states)
        assert loss.entropy is not None
        weight, stats = sum(item.weight for item in batch.rows(rows)), {k: float(v) for k, v in loss.stats.items()}
        self.loss_sums = LossSums(weight, float(loss.total.detach()), stats, float(mask.sum()), float(loss.entropy))
        if num_items_in_batch is None:  # in evaluation TRL divides by the units of this process alone
            num_items_in_batch = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        return loss.total / num_items_in_batch, loss.entropy, mask.sum()

    # ---- around the step --------------------------------------------------------------------------------------------

    def _observation(self, mode: str, batch: ScoredBatch) -> Observation:
        """A batch as monitors see it. Every process must call it."""
        with self.distiller.timers.timed("render"):
            histories = history_counts(batch, self.student_side, self._teacher_renderers)
        is_sampled = batch.rollout.is_sampled
        written_by = Part.STUDENT_ROLLOUT if is_sampled or not self._off_policy else self._off_policy.written_by
        step, rescored = self.state.global_step, self.is_rescored
        return Observation.of(mode, step, batch, histories, self.total, written_by, rescored)

    def score_prompts(self, prompts: Sequence[Prompt], names: Sequence[str] | None = None) -> list[ScoredResponse]:
        """Sample a response to each prompt and score it, without training: for evaluation and reports.

        Args:
            prompts: texts or lists of messages.
            names: of each prompt's teacher, if the data's column names it.

        Returns:
            A response for each prompt; if tools are called, one for each turn, in order.

        Raises:
            InputError: a prompt that a model cannot read, or FSDP or DeepSpeed have not taken the student over yet.
        """
        self._check_taken_over("answer prompts", "score them after train()")
        columns = [None] * len(prompts) if names is None else names
        rows: list[dict[str, Any]] = [
            {"prompt": as_prompt(prompt, prompt_name(number)), COLUMN: name}
            for number, (prompt, name) in enumerate(zip(prompts, columns, strict=True))
        ]
        for number, row in enumerate(rows):
            self.row_check.check(number, row)
        was_training = self.model.training
        self.model.eval()
        _, batch = self._sample_and_score(rows)
        self.model.train(was_training)
        return batch.responses

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        mode = "train" if self.model.training else "eval"
        metrics = self.metrics.take(mode)
        if mode == "train" and self.reward_metrics is not None:
            metrics |= self.reward_metrics.take()
        self._metrics[mode].update({name: [value] for name, value in metrics.items()})
        super().log(logs, start_time)

    def card_facts(self) -> dict[str, Any]:
        """As :meth:`CardTrainer.card_facts`, with the method and what it has spent. Every process must call it."""
        return {
            "teachers": self.teacher_names,
            "objective": self.objective.name,
            "objective_reason": self.choice.reason,
            "objective_options": self.choice.options,
            "reward": None if self.reward is None else {"name": self.args.reward, "weight": self.args.reward_weight},
            **self.total_usage().as_dict(),
            **super().card_facts(),
        }

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        self.distiller.timers.take()  # training is timed from here
        with self.reward or nullcontext():
            result = super().train(resume_from_checkpoint, **kwargs)
        self.coverage_guard.check()
        return result

    def set_deadline(self, seconds: float) -> None:
        """From now on wait at most so long for remote teachers, in all, because the run was told to stop.

        After that TeacherUnavailableError. May be called while another thread, or this one, is waiting.
        """
        for teacher in self.teachers.values():
            teacher.set_deadline(seconds)
