"""The trainer: TRL's DistillationTrainer with a teacher that reads text in its own tokens.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py), beside what modules `generation` and
`checkpointing` override: ``_generate_and_score_completions`` (adds the teacher's signal),
``_compute_loss`` (the objective instead of a divergence over one vocabulary), ``compute_loss`` and ``log`` (figures).
Generation, tools, PEFT, distribution, loggers and the hub are inherited.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainerCallback

from crossdistill.align import Coverage
from crossdistill.chat import stop_ids
from crossdistill.chat.messages import Prompt
from crossdistill.costs import Part
from crossdistill.distill.loss import loss_of
from crossdistill.distill.multi_teacher import MultiTeacherScorer
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.rollout import Rollout, padded
from crossdistill.distill.routing import COLUMN
from crossdistill.distill.scorer import pair_of
from crossdistill.distill.student import PolicyBatch, collate, policy_states
from crossdistill.objectives import get
from crossdistill.ops import LMHead
from crossdistill.teachers import LocalTeacher, ServedTeacher, Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.checkpointing import CheckpointingTrainer, raise_on_all_ranks
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.monitor.coverage_guard import CoverageGuard
from crossdistill.train.monitor.metrics import RolloutSums
from crossdistill.train.monitor.progress_bar import ProgressBar, use_progress_bar
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.monitor.watchdog import Watchdog
from crossdistill.train.off_policy import OffPolicyResponses
from crossdistill.train.preflight.models import check_finite, load_teacher
from crossdistill.train.preflight.served import TrafficMeter
from crossdistill.train.preflight.setup import Setup, choice_for
from crossdistill.train.vllm import KeepSampledLogprobs


class CrossTokenizerTrainer(CheckpointingTrainer):
    """Trains a student on its own samples under a teacher with another tokenizer.

    Args:
        model: student: a folder, a hub id, or a model.
        teacher: teacher: a folder, a hub id, a model (with `teacher_processing_class`), or any
            :class:`crossdistill.teachers.Teacher`; or several by name (:mod:`crossdistill.distill.routing`).
        train_dataset: rows with a ``prompt``: a text, which both models continue as it stands, or a list of messages,
            which each model's own chat template renders.
        processing_class: the student's tokenizer; loaded from its folder where omitted.
        teacher_processing_class: the teacher's; likewise. By name where there are several.
        tools: functions that the student may call, as for TRL's trainer. What it samples is supervised turn by turn;
            their results are not.

    Attributes:
        scored: the responses of the latest batch (their turns, where tools are called), with alignments and advantages.
        student_vocab: the student's tokens as bytes. teachers: by name; ``"teacher"`` where there is one.
        choice: the objective's name and options, and why it was taken where the configuration says "auto".
        coverage_guard: what share of the bytes the pair promises to supervise, and what the run must reach.

    Raises InputError for what cannot work, before a model is loaded where that is possible.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "crossdistill"]
    _name = "CrossTokenizer"
    _paper: ClassVar[dict[str, str]] = {
        "title": "Breaking the Tokenizer Barrier: On-Policy Distillation across Model Families"
    }

    def __init__(
        self,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        teacher_processing_class: PreTrainedTokenizerBase | Mapping[str, PreTrainedTokenizerBase] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
        tools: list[Callable[..., Any]] | None = None,
    ):
        args = args or CrossTokenizerConfig("crossdistill-output")
        tokenizers = processing_class, teacher_processing_class
        setup = Setup.of(model, teacher, args, (train_dataset, eval_dataset), tokenizers, tools)
        super().__init__(
            model=setup.student,
            teacher_model=None,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=setup.tokenizer,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
            tools=tools,
        )
        student = self.accelerator.unwrap_model(self.model)
        LMHead.from_model(student).verify(student)
        self.stop_at(stop_ids(setup.tokenizer, self.eos_token_ids))
        size = student.get_input_embeddings().weight.shape[0]
        self.student_vocab = ByteVocab.from_tokenizer(setup.tokenizer, size, args.text_tokens or ())
        self.routing = setup.routing
        self.teachers = {
            name: load_teacher(one.model, one.tokenizer, args, self.accelerator.device)
            for name, one in setup.teachers.items()
        }
        pairs = {
            name: pair_of(self.student_vocab, self.eos_token_ids, teacher, args.stop_unit)
            for name, teacher in self.teachers.items()
        }
        self.choice = choice_for(args, [(teacher, pairs[name]) for name, teacher in self.teachers.items()])
        self.objective = get(self.choice.objective, **self.choice.options)
        self._set_temperature(setup)
        for pair in pairs.values():
            self.objective.check(pair)
        self.objective.attach(student)
        self._panel = MultiTeacherScorer.of(self, setup, pairs)
        self._panel.see([row["prompt"] for row in setup.looked_at], [self.routing.of(row) for row in setup.looked_at])
        self._mixture = OffPolicyResponses(args, self.student_side, self.student_vocab, list(self.teachers.values()))
        if self.use_vllm:
            self.vllm_generation = KeepSampledLogprobs(self.vllm_generation, student)
        self.ledger = Usage.of(student, self.teachers)
        self._meter = TrafficMeter(self.teachers)
        self.scored: list[ScoredResponse] = []
        self._by_row: dict[str, list[list[ScoredResponse]]] = {}
        self._sums = {"train": RolloutSums(), "eval": RolloutSums()}
        self.watchdog = Watchdog(self.accelerator.is_main_process)
        use_progress_bar(self, ProgressBar())
        self.coverage_guard = CoverageGuard.of(self)
        self.add_callback(self.coverage_guard)

    @property
    def teacher(self) -> Teacher:
        """The first one, where there are several."""
        return next(iter(self.teachers.values()))

    def _set_temperature(self, setup: Setup) -> None:
        """Of both sides' log-probabilities; a Teacher that was given has its own."""
        self.scoring_temperature = self.temperature if self.objective.at_sampling_temperature else 1.0
        for name, teacher in self.teachers.items():
            if isinstance(teacher, LocalTeacher) and teacher is not setup.teachers[name].model:
                teacher.temperature = self.scoring_temperature

    # ---- rollouts -------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        mode = "train" if self.model.training else "eval"
        written = self._mixture.rollout(inputs, self.state.global_step) if mode == "train" else None
        rollout, batch, scored = self._rollout(inputs, written)
        self.scored = scored
        coverage = Coverage()
        for item in scored:
            coverage.add(item.coverage)
        if mode == "train":
            given_tokens = rollout.num_prompt_tokens + rollout.num_tool_tokens
            vllm_scored = self.use_vllm and rollout.is_sampled
            writer = Part.STUDENT_ROLLOUT if rollout.is_sampled else self._mixture.writer
            self.ledger.record(scored, coverage, given_tokens, self.args.num_iterations, writer, not vllm_scored)
            self._metrics[mode]["on_policy"].append(float(rollout.is_sampled))
        with self._panel.timers.timed("render"):
            histories = self._panel.see_scored(rollout, scored, self.student_side)
        sums = torch.tensor(
            RolloutSums.of(rollout, scored, coverage, histories).values(),
            dtype=torch.float64,
            device=batch["input_ids"].device,
        )
        if rollout.is_sampled:  # the figures are about what the student says
            of_all = self.accelerator.reduce(sums, "sum").tolist()
            self._sums[mode].add(of_all)
            if mode == "train":
                self.watchdog.see(RolloutSums(*of_all), self.state.global_step)
        self._log_samples(rollout)
        self._by_row[mode] = rollout.by_row(scored)
        mask = padded(rollout.spread([item.mask for item in scored]), batch["completion_mask"])
        weight = torch.tensor(sum(item.weight for item in scored), dtype=torch.float64, device=mask.device)
        return {
            **batch,
            "loss_mask": mask,
            "row": torch.arange(len(mask), device=mask.device),  # finds its batch again after a shuffle
            "num_items_in_batch": self.accelerator.gather(weight.float()).sum(),
        }

    def score_prompts(self, prompts: Sequence[Prompt], names: Sequence[str] | None = None) -> list[ScoredResponse]:
        """Sample a response to each prompt and score it, without training: for evaluation and reports.

        Where tools are called, a prompt has several: one a turn, in order, each with what it answers.

        names: of each prompt's teacher, where the data's column tells it.
        """
        was_training = self.model.training
        self.model.eval()
        rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in prompts]
        for row, name in zip(rows, names or (), strict=names is not None):
            row[COLUMN] = name
        _, _, scored = self._rollout(rows)
        self.model.train(was_training)
        return scored

    def _rollout(
        self, rows: Sequence[Mapping[str, Any]], written: Rollout | None = None
    ) -> tuple[Rollout, PolicyBatch, list[ScoredResponse]]:
        """Sample and score.

        A teacher that computes elsewhere scores what was sampled while more is, and while the student's own
        probabilities are computed.
        """
        with self._panel.abandoned_on_error():
            return self._judged_rollout(rows, written)

    def _judged_rollout(
        self, rows: Sequence[Mapping[str, Any]], written: Rollout | None
    ) -> tuple[Rollout, PolicyBatch, list[ScoredResponse]]:
        prompts, judges = [row["prompt"] for row in rows], [self.routing.of(row) for row in rows]
        self._panel.see(prompts, judges)
        parts, questions = [], []
        for portion in [slice(None)] if written else self._portions(len(rows)):
            with self._panel.timers.timed("rollout"):
                parts.append(written or self.sample(prompts[portion]))
            questions.append(self._panel.ask(parts[-1], judges[portion]))
        rollout = Rollout.joined(parts)
        batch = collate(
            rollout.prompt_ids, rollout.completion_ids, self._tokenizer.pad_token_id, self.accelerator.device
        )
        ends = [response.stop_position for question in questions for response in question.responses]
        with self._panel.timers.timed("student"):
            logprobs, stops = self.sampled_logprobs(rollout, batch, ends)
        check_finite(logprobs, self.state.global_step)
        with raise_on_all_ranks():
            scored = self._panel.finish(questions, logprobs, stops)
        return rollout, batch, scored

    def _portions(self, num_rows: int) -> list[slice]:
        """What is sampled at once: all, or parts where a teacher can score one while the next is sampled."""
        is_remote = any(teacher.is_remote for teacher in self.teachers.values())
        size = math.ceil(num_rows / self.args.rollout_parts) if is_remote else num_rows
        return [slice(first, first + size) for first in range(0, num_rows, size)]

    # ---- optimisation ---------------------------------------------------------------------------------------------

    def _compute_loss(
        self, unwrapped_student: Any, inputs: Any, num_items_in_batch: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = inputs["loss_mask"]
        with self.accelerator.autocast():  # the redirection passes by the one that accelerate puts on the forward
            states = policy_states(unwrapped_student, inputs, mask)
            by_row = self._by_row["train" if self.model.training else "eval"]
            items = [item for row in inputs["row"].tolist() for item in by_row[row]]
            loss, entropy = loss_of(self.objective, items, states, self.temperature)
        self._loss_stats = {"weight": sum(item.weight for item in items)}
        self._loss_stats.update({name: float(value) for name, value in loss.stats.items()})
        if num_items_in_batch is None:  # in evaluation TRL divides by the units of this process alone
            num_items_in_batch = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        return loss.total / num_items_in_batch, entropy, mask.sum()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        mode = "train" if self.model.training else "eval"
        totals: Counter[str] = Counter()
        for stats in gather_object([self._loss_stats]):
            totals.update(stats)
        weight = totals.pop("weight")
        for name, total in totals.items():
            self._metrics[mode][name].append(total / max(1.0, weight))
        return result

    # ---- figures --------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        mode = "train" if self.model.training else "eval"
        sums, self._sums[mode] = self._sums[mode], RolloutSums()
        figures = sums.metrics()
        if mode == "train" and figures:
            seconds = self._panel.timers.take()  # of this process; the tokens are those of all
            figures["tokens_per_second"] = sums.sampled_tokens / seconds["total"]
            figures.update({f"seconds/{part}": value for part, value in seconds.items()})
            figures.update(self._meter.take())
        self._metrics[mode].update({name: [value] for name, value in figures.items()})
        super().log(logs, start_time)

    def _log_samples(self, rollout: Rollout) -> None:
        """Prompts and completions as text, tool results included."""
        decoded = [self.student_vocab.decode(ids) for ids in rollout.completion_ids]
        texts = [data.decode("utf-8", errors="backslashreplace") for data in decoded]
        self._logs["prompt"].extend(gather_object([str(prompt) for prompt in rollout.prompts]))
        self._logs["completion"].extend(gather_object(texts))

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        self._panel.timers.take()  # training is timed from here
        result = super().train(resume_from_checkpoint, **kwargs)
        self.coverage_guard.check()
        return result

    def set_deadline(self, seconds: float) -> None:
        """From now on a served teacher is waited for so long at most, in all; for a run that was told to stop.

        After that TeacherUnavailableError. May be called while another thread, or this one, is waiting.
        """
        for teacher in self.teachers.values():
            if isinstance(teacher, ServedTeacher):
                teacher.set_deadline(seconds)
