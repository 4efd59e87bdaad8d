"""The trainer: TRL's DistillationTrainer with a teacher that reads text in its own tokens.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py): ``_tokenize_prompts`` (one renderer for both
sides), ``_generate_and_score_completions`` (adds the teacher's signal), ``_compute_loss`` (the objective instead of a
divergence over one vocabulary), the sampler and ``_prepare_inputs`` (several optimisation steps a rollout),
``compute_loss`` and ``log`` (figures). Generation, PEFT, distribution, checkpoints, loggers and the hub are inherited.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import DistillationTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from crossdistill.align import Coverage
from crossdistill.chat import ensure_template, render_prompt, stop_ids
from crossdistill.chat.template import Prompt
from crossdistill.costs import Costs
from crossdistill.ops import LMHead
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train import checks
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.ledger import Ledger, matmul_parameters
from crossdistill.train.loading import load_teacher, load_tokenizer, teacher_revision
from crossdistill.train.metrics import RolloutSums
from crossdistill.train.policy import PolicyBatch, collate, policy_logprobs, sampled_logprobs
from crossdistill.train.progress import Progress, use_progress
from crossdistill.train.rollout import RolloutScorer, ScoredResponse
from crossdistill.train.sampler import EpochSampler
from crossdistill.train.vllm_logprobs import KeepSampledLogprobs


class CrossTokenizerTrainer(DistillationTrainer):
    """Trains a student on its own samples under a teacher with another tokenizer.

    Args:
        model: student: a folder, a hub id, or a model.
        teacher: teacher: a folder, a hub id, a model (with `teacher_processing_class`), or any
            :class:`crossdistill.teachers.Teacher`.
        train_dataset: rows with a ``prompt``: a text, which both models continue as it stands, or a list of messages,
            which each model's own chat template renders.
        processing_class: the student's tokenizer; loaded from its folder where omitted.
        teacher_processing_class: the teacher's; likewise.

    Attributes:
        ledger: what this process has spent and what became of every token that it sampled in training.
        scored: the responses of the latest batch, with their alignments and advantages.
        student_vocab: the student's tokens as bytes.

    Raises InputError for what cannot work, before a model is loaded where that is possible.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "crossdistill"]
    _name = "CrossTokenizer"
    _paper: ClassVar[dict[str, str]] = {
        "title": "Breaking the Tokenizer Barrier: On-Policy Distillation across Model Families"
    }

    vllm_generation: Any
    _buffered_inputs: Any

    def __init__(
        self,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        teacher_processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
    ):
        args = args or CrossTokenizerConfig("crossdistill-output")
        model, teacher = (str(name) if isinstance(name, Path) else name for name in (model, teacher))
        checks.check_inputs(model, teacher, args, train_dataset, eval_dataset)
        processing_class = load_tokenizer(model, "student", processing_class, padding_side="left")
        if isinstance(teacher, str | torch.nn.Module):
            revision = teacher_revision(args)
            teacher_processing_class = load_tokenizer(teacher, "teacher", teacher_processing_class, revision=revision)
        ensure_template(processing_class)
        for prompts in checks.parts(train_dataset) + checks.parts(eval_dataset):
            checks.check_lengths("student", model, processing_class, prompts, args)
            if teacher_processing_class is not None:
                ensure_template(teacher_processing_class)
                checks.check_lengths("teacher", teacher, teacher_processing_class, prompts, args)
        checks.check_weights(model)
        checks.check_weights(teacher)

        super().__init__(
            model=model,
            teacher_model=None,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        student = self.accelerator.unwrap_model(self.model)
        LMHead.from_model(student).verify(student)
        self._stop_at(stop_ids(processing_class, self.eos_token_ids))
        self.teacher = self._load_teacher(teacher, teacher_processing_class)
        self.objective = args.make_objective()
        checks.check_signal(self.objective, self.teacher)
        self.student_vocab = ByteVocab.from_tokenizer(
            processing_class, size=student.get_input_embeddings().weight.shape[0]
        )
        self._scorer = RolloutScorer(
            self.objective,
            self.student_vocab,
            self.eos_token_ids,
            self.teacher,
            cast(dict[str, Any] | None, args.teacher_chat_template_kwargs),
            args.stop_unit,
        )
        if self.use_vllm:
            self.vllm_generation = KeepSampledLogprobs(self.vllm_generation)
        teacher_params = matmul_parameters(self.teacher.model) if isinstance(self.teacher, LocalTeacher) else 0
        self.ledger = Ledger(Costs(matmul_parameters(student), teacher_params))
        self.scored: list[ScoredResponse] = []
        self._sums = {"train": RolloutSums(), "eval": RolloutSums()}
        use_progress(self, Progress())

    def _load_teacher(self, teacher: Any, tokenizer: PreTrainedTokenizerBase | None) -> Teacher:
        if not isinstance(teacher, str | torch.nn.Module):
            return teacher
        model = load_teacher(teacher, self.args, self.accelerator.device)
        return LocalTeacher(model, tokenizer, self.args.teacher_batch_tokens, self.args.temperature)

    def _stop_at(self, ids: tuple[int, ...]) -> None:
        """Generation also ends at the chat template's end of turn, which some models do not declare."""
        self.eos_token_ids = list(ids)
        self.generation_config.eos_token_id = self.eos_token_ids
        self.generation_kwargs["eos_token_id"] = self.eos_token_ids
        if self.use_vllm:
            options = {"stop_token_ids": self.eos_token_ids, **self.vllm_generation.generation_kwargs}
            self.vllm_generation.generation_kwargs = options

    def _tokenize_prompts(self, prompts: list[Prompt]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The student's prompts by the same rules as the teacher's."""
        kwargs = self.chat_template_kwargs
        return [render_prompt(self._tokenizer, prompt, kwargs) for prompt in prompts], None, {}

    # ---- rollouts -------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        mode = "train" if self.model.training else "eval"
        prompts = [row["prompt"] for row in inputs]
        batch, scored = self._rollout(prompts)
        self.scored = scored
        coverage = Coverage()
        for item in scored:
            coverage.add(item.coverage)
        if mode == "train":
            prompt_tokens = int(batch["prompt_lengths"].sum())
            self.ledger.record(scored, coverage, prompt_tokens, self.args.num_iterations, rescored=not self.use_vllm)
        sums = torch.tensor(
            RolloutSums.of(scored, coverage).values(), dtype=torch.float64, device=batch["input_ids"].device
        )
        self._sums[mode].add(self.accelerator.reduce(sums, "sum").tolist())
        self._log_samples(prompts, scored)
        mask = _padded([item.mask for item in scored], batch["completion_mask"])
        return {
            **batch,
            "loss_mask": mask,
            "advantages": _padded([item.advantages for item in scored], batch["completion_mask"]),
            "old_logprobs": _padded([item.student_logprobs for item in scored], batch["completion_mask"]),
            "num_items_in_batch": self.accelerator.gather(mask.sum()).sum(),
        }

    def score_prompts(self, prompts: Sequence[Prompt]) -> list[ScoredResponse]:
        """Sample a response to each prompt and score it, without training: for evaluation and reports."""
        was_training = self.model.training
        self.model.eval()
        _, scored = self._rollout(list(prompts))
        self.model.train(was_training)
        return scored

    def _rollout(self, prompts: list[Prompt]) -> tuple[PolicyBatch, list[ScoredResponse]]:
        with self._scorer.stopwatch.timed("rollout"):
            prompt_ids, completion_ids, *_ = self._generate(prompts)
        responses = self._scorer.split(completion_ids)
        batch = collate(prompt_ids, completion_ids, self._tokenizer.pad_token_id, self.accelerator.device)
        with self._scorer.stopwatch.timed("student"):
            logprobs, stop_logprobs = self._sampled_logprobs(batch, [item.stop_position for item in responses])
        return batch, self._scorer.score(prompts, responses, logprobs, stop_logprobs)

    def _sampled_logprobs(
        self, batch: PolicyBatch, stops: Sequence[int | None]
    ) -> tuple[list[np.ndarray], list[float | None]]:
        """Log-probabilities under the policy that sampled, and the stop mass where a response stopped.

        vLLM's own, where vLLM sampled, so that its mismatch with the training engine is corrected by the ratio.
        """
        lengths = batch["completion_mask"].sum(1).tolist()
        if self.use_vllm:
            rows = self.vllm_generation.take()
            return rows, [None if stop is None else float(row[stop]) for row, stop in zip(rows, stops, strict=True)]
        stop_mask = torch.zeros_like(batch["completion_mask"])
        for row, stop in enumerate(stops):
            if stop is not None:
                stop_mask[row, stop] = True
        student = self.accelerator.unwrap_model(self.model_wrapped)
        stop_ids = torch.tensor(self.eos_token_ids, device=stop_mask.device)
        logprobs, masses = [], []
        size = self.args.per_device_train_batch_size if self.model.training else self.args.per_device_eval_batch_size
        for first in range(0, len(stops), size):
            part: Any = {key: value[first : first + size] for key, value in cast(dict[str, Tensor], batch).items()}
            arguments = (student, part, stop_mask[first : first + size], stop_ids, self.temperature)
            with self.accelerator.autocast():
                rows, mass = self._forward_redirection(self.model_wrapped, student, sampled_logprobs, *arguments)
            logprobs.extend(rows.cpu().numpy())
            masses.extend(mass.tolist())
        remaining = iter(masses)
        per_row = [row[:length] for row, length in zip(logprobs, lengths, strict=True)]
        return per_row, [None if stop is None else next(remaining) for stop in stops]

    # ---- optimisation ---------------------------------------------------------------------------------------------

    def _compute_loss(
        self, unwrapped_student: Any, inputs: Any, num_items_in_batch: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = inputs["loss_mask"]
        with self.accelerator.autocast():  # the redirection passes by the one that accelerate puts on the forward
            policy = policy_logprobs(unwrapped_student, inputs, mask, self.temperature)
        loss = self.objective.loss(policy.logprobs, inputs["old_logprobs"][mask], inputs["advantages"][mask])
        self._loss_stats = {name: value.detach() for name, value in loss.stats.items()}
        if num_items_in_batch is None:  # in evaluation TRL divides by the tokens of this process alone
            num_items_in_batch = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        return loss.total / num_items_in_batch, policy.entropy.sum(), mask.sum()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        mode = "train" if self.model.training else "eval"
        names = sorted(self._loss_stats)
        sums = torch.stack([inputs["loss_mask"].sum().float(), *(self._loss_stats[name].float() for name in names)])
        num_tokens, *totals = self.accelerator.reduce(sums, "sum").tolist()
        for name, total in zip(names, totals, strict=True):
            self._metrics[mode][name].append(total / max(1.0, num_tokens))
        return result

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return EpochSampler(
            epoch=lambda: int(self.state.epoch or 0),
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=1,
            batch_size=self._train_batch_size * self.accelerator.num_processes * self.args.gradient_accumulation_steps,
            repeat_count=self._window(),
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
        )

    def _window(self) -> int:
        """Micro-batches for which one batch of rollouts is used."""
        return self.args.gradient_accumulation_steps * self.args.num_iterations

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            return self._generate_and_score_completions(generation_batch)
        accumulation = self.args.gradient_accumulation_steps
        if self._step % self._window() == 0 or self._buffered_inputs is None:
            rollouts = shuffle_sequence_dict(self._generate_and_score_completions(generation_batch))
            self._buffered_inputs = split_tensor_dict(rollouts, accumulation)
        return self._buffered_inputs[self._step % accumulation]

    # ---- figures --------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        mode = "train" if self.model.training else "eval"
        sums, self._sums[mode] = self._sums[mode], RolloutSums()
        figures = sums.metrics()
        if mode == "train" and figures:
            seconds = self._scorer.stopwatch.take()  # of this process; the tokens are those of all
            figures["tokens_per_second"] = sums.sampled_tokens / seconds["total"]
            figures.update({f"seconds/{part}": value for part, value in seconds.items()})
        self._metrics[mode].update({name: [value] for name, value in figures.items()})
        super().log(logs, start_time)

    def _log_samples(self, prompts: list[Prompt], scored: Sequence[ScoredResponse]) -> None:
        texts = [item.response.data.decode("utf-8", errors="backslashreplace") for item in scored]
        self._logs["prompt"].extend(gather_object([str(prompt) for prompt in prompts]))
        self._logs["completion"].extend(gather_object(texts))

    # ---- the run ---------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As TRL's; `resume_from_checkpoint` is a checkpoint's path, or True for the last one. The ledger goes on."""
        if isinstance(resume_from_checkpoint, bool):
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint else None
        self._began_at = time.perf_counter()
        self._scorer.stopwatch.take()  # training is timed from here
        if resume_from_checkpoint is not None and self.accelerator.is_main_process:
            self.ledger.load(resume_from_checkpoint)
        self._seconds_before = self.ledger.seconds
        return super().train(resume_from_checkpoint, **kwargs)

    def total_ledger(self) -> Ledger:
        """The ledger of all processes together; every process must ask."""
        self.ledger.seconds = self._seconds_before + time.perf_counter() - self._began_at
        total = Ledger(Costs(self.ledger.costs.student_params, self.ledger.costs.teacher_params))
        for entry in gather_object([self.ledger.as_dict()]):
            total.add(entry)
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        total = self.total_ledger()
        if self.accelerator.is_main_process:
            total.save(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)


def _padded(rows: Sequence[np.ndarray], like: Tensor) -> Tensor:
    """Rows of different length as one tensor of the shape of `like` [B, C], 0 (False) at padding."""
    out = np.zeros(tuple(like.shape), dtype=rows[0].dtype)
    for row, values in enumerate(rows):
        out[row, : len(values)] = values
    return torch.from_numpy(out).to(like.device)
