"""Sampling with TRL: rollouts cut into turns, their log-probabilities, the order of the prompts, and how long a rollout
is used.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py): ``_tokenize_prompts`` (one renderer for both
sides), ``_generate_single_turn`` and ``_tool_call_loop`` (they keep what TRL discards),
``_set_signature_columns_if_needed`` (the columns that a run reads) and the sampler.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from trl import DistillationTrainer
from trl.trainer.utils import RepeatSampler

from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.routing import COLUMN
from crossdistill.distill.sampled_logprobs import SampledLogprobs
from crossdistill.distill.student import (
    StudentInputs,
    StudentLogprobs,
    logprobs_with_stop_mass,
    student_logprobs,
)
from crossdistill.distill.turn_logprobs import TurnLogprobs
from crossdistill.ops import holds_mask, micro_batches, split_further
from crossdistill.ops.contiguous import contiguous_head_input
from crossdistill.ops.mode import in_mode
from crossdistill.teachers import Teacher
from crossdistill.teachers.generation_defaults import defaults_set_aside
from crossdistill.teachers.writing import check_one_each
from crossdistill.train.redirection import Redirection
from crossdistill.train.rollout_portions import ON_ACCELERATOR, ON_CPU, rollout_portions
from crossdistill.train.stream import NUMBER, ROW
from crossdistill.train.vllm.engine import engine_for_trl

# TRL turns checkpointing off and on around generation by these names of transformers' methods, which warn
_OLD_NAMES = "`(is_gradient_checkpointing|gradient_checkpointing_(enable|disable))` is deprecated"


class GenerationTrainer(DistillationTrainer):
    """TRL's trainer, with rollouts cut into turns.

    Attributes:
        teachers: by name.
        student_side: renders the student's prompts.
        scoring_temperature: of the student's log-probabilities.
        is_rescored: whether those of the latest batch took a forward pass of their own.
    """

    teachers: dict[str, Teacher]
    vllm_generation: Any
    _buffered_inputs: Any

    def __init__(self, *args: Any, **kwargs: Any):
        warnings.filterwarnings("ignore", _OLD_NAMES, FutureWarning)
        with engine_for_trl(kwargs["args"].vllm_weights_folder):
            super().__init__(*args, **kwargs)
        template_kwargs = dict(self.chat_template_kwargs)
        if self.chat_template is not None:  # with tools TRL takes one that renders earlier turns alike at any time
            template_kwargs["chat_template"] = self.chat_template
        self.student_side = PromptRenderer(self._tokenizer, template_kwargs, self.tools)
        self.scoring_temperature = self.temperature
        self.is_rescored = False
        self._forward_redirection = Redirection()
        self._conversations: list[list[Message]] | None = None
        self._turn_logprobs = TurnLogprobs()

    def stop_at(self, ids: Sequence[int]) -> None:
        """Generation also ends at the chat template's end of turn, which some models do not declare."""
        self.eos_token_ids = list(ids)
        self.generation_config.eos_token_id = self.eos_token_ids
        self.generation_kwargs["eos_token_id"] = self.eos_token_ids
        if self.use_vllm:
            options = {"stop_token_ids": self.eos_token_ids, **self.vllm_generation.generation_kwargs}
            self.vllm_generation.generation_kwargs = options

    def sample(self, rows: Sequence[Mapping[str, Any]]) -> Rollout:
        """One completion for each row's prompt, with tool calls and their results in it."""
        self._conversations = None
        prompts: list[Prompt] = [row["prompt"] for row in rows]
        prompt_ids, completion_ids, sampled_masks, *_ = self._generate(prompts)
        names = [row.get(COLUMN) for row in rows]
        groups = self.groups(len(rows))
        turns = sampled_masks, self._conversations
        return Rollout.of(prompts, prompt_ids, completion_ids, *turns, teachers=names, groups=groups)

    def groups(self, num_rows: int) -> list[int]:
        """The group of each row: in training the sampler repeats a prompt `num_generations` times in a row."""
        size = self.args.num_generations if self.model.training else 1
        return [row // size for row in range(num_rows)]

    def portions(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Rows that are sampled at once: all, or parts if a remote teacher can score one while the next is sampled."""
        is_remote = any(teacher.is_remote for teacher in self.teachers.values())
        size = math.ceil(len(rows) / self.args.rollout_parts) if is_remote else len(rows)
        size = math.ceil(size / self.args.num_generations) * self.args.num_generations  # a group is sampled at once
        yield from (rows[first : first + size] for first in range(0, len(rows), size))

    def old_logprobs(
        self, rollout: Rollout, inputs: StudentInputs, stop_positions: Sequence[int | None]
    ) -> StudentLogprobs:
        """Log-probabilities of each turn under the policy that sampled, and the stop mass of the turns that stopped.

        They are those that sampling has left. If vLLM sampled, the sampled stop's log-probability stands in for the
        stop mass. A forward pass of the student gives them for responses that it did not sample, and if ``generate``
        could not be watched (:class:`SampledLogprobs`) on one of the processes.

        Args:
            rollout: sampled or given.
            inputs: its rows as tensors.
            stop_positions: position of each turn's stop token in the turn, None if it has none.
        """
        sampled = self._turn_logprobs.take(rollout, stop_positions) if rollout.is_sampled else None
        self.is_rescored = not self._all_processes(sampled is not None)
        if sampled is not None and not self.is_rescored:
            return sampled
        size = self.args.per_device_train_batch_size if self.model.training else self.args.per_device_eval_batch_size
        batches = self.micro_batches(rollout.lengths, size)
        return student_logprobs(rollout, inputs, stop_positions, batches, self._student_forward)

    def _all_processes(self, holds: bool) -> bool:
        """Whether something holds on all processes. Every process must call it."""
        return bool(self.accelerator.gather(torch.tensor([holds], device=self.accelerator.device)).all())

    def micro_batches(self, lengths: Sequence[int], max_rows: int) -> list[list[int]]:
        """Rows in micro-batches, as many as other processes have: sharded weights are gathered in each pass.

        Args:
            lengths: tokens of each row.
            max_rows: of a micro-batch.
        """
        has_mask = holds_mask(self.accelerator.unwrap_model(self.model))
        batches = micro_batches(lengths, self.args.micro_batch_tokens, max_rows, has_mask)
        counts = self.accelerator.gather(torch.tensor([len(batches)], device=self.accelerator.device))
        return split_further(batches, lengths, int(counts.max()))

    def _student_forward(self, part: StudentInputs, stop_mask: Tensor) -> tuple[Tensor, Tensor]:
        """A forward pass in evaluation mode, as generation's: training mode may add noise."""
        with in_mode(self.accelerator.unwrap_model(self.model), training=False):
            found: tuple[Tensor, Tensor] = self.through_wrappers(
                logprobs_with_stop_mass, part, stop_mask, self.eos_token_ids, self.scoring_temperature
            )
        return found

    @torch.no_grad()
    def through_wrappers(self, forward: Callable[..., Any], *arguments: Any) -> Any:
        """``forward(student, *arguments)`` through the wrappers of DDP and FSDP around the student; no gradient."""
        student = self.accelerator.unwrap_model(self.model_wrapped)
        with self.accelerator.autocast():
            return self._forward_redirection(self.model_wrapped, student, forward, student, *arguments)

    def _tokenize_prompts(self, prompts: list[Prompt]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The student's prompts by the same rules as the teacher's."""
        return self.student_side.render_all(prompts), None, {}

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, has_tool_images: bool = False
    ) -> Any:
        if self.use_vllm or images or multimodal_fields:  # which hold what belongs to all rows
            return self._sampled_at_once(prompt_ids, images, multimodal_fields, has_tool_images)
        completion_ids: list[list[int]] = [[] for _ in prompt_ids]
        for rows in self._rollout_portions([len(ids) for ids in prompt_ids]):
            own = [prompt_ids[row] for row in rows]
            for row, ids in zip(rows, self._sampled_at_once(own, None, {}, has_tool_images), strict=True):
                completion_ids[row] = ids
        return completion_ids

    def _rollout_portions(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows that ``generate`` samples at once; as many portions on all processes that share weights."""
        saved = self.args.min_padding_saved
        if saved is None:
            saved = ON_CPU if self.accelerator.device.type == "cpu" else ON_ACCELERATOR
        min_saved = saved * self.args.max_completion_length
        portions = rollout_portions(lengths, min_saved)
        if (self.is_fsdp_enabled or self.is_deepspeed_enabled) and not self.tools:
            counts = self.accelerator.gather(torch.tensor([len(portions)], device=self.accelerator.device))
            portions = rollout_portions(lengths, min_saved, max_portions=int(counts.min()))
        return portions

    def _sampled_at_once(self, prompt_ids: Any, *others: Any) -> Any:
        """A response to each prompt; the log-probabilities that the engine tells are kept."""
        student = self.accelerator.unwrap_model(self.model)
        sampled = self._watch_of(student)
        with (
            defaults_set_aside(student),
            in_mode(student, training=False),
            contiguous_head_input(student),
            sampled or nullcontext(),
        ):
            completion_ids = super()._generate_single_turn(prompt_ids, *others)
        check_one_each(len(prompt_ids), len(completion_ids))
        if self.use_vllm:
            tokens = self.vllm_generation.take()
            self._turn_logprobs.record(prompt_ids, tokens, stops=tokens)
        elif sampled is not None and (found := sampled.of(prompt_ids, completion_ids)) is not None:
            self._turn_logprobs.record(prompt_ids, *found)
        return completion_ids

    def _watch_of(self, student: Any) -> SampledLogprobs | None:
        """What watches ``generate``; None if its logits are not the policy's, as with a quantised cache."""
        if self.use_vllm or self.generation_config.cache_implementation == "quantized":
            return None
        return SampledLogprobs(student, self.eos_token_ids, self.scoring_temperature)

    def _tool_call_loop(
        self, prompts: Any, prompt_ids: Any, completion_ids: Any, completions: Any, images: Any, multimodal_fields: Any
    ) -> Any:
        result = super()._tool_call_loop(prompts, prompt_ids, completion_ids, completions, images, multimodal_fields)
        self._conversations = result[1]
        return result

    def _set_signature_columns_if_needed(self) -> None:
        """The columns that stay with `remove_unused_columns`."""
        self._signature_columns = ["prompt", "completion", COLUMN, NUMBER, ROW]

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return EpochSampler(
            epoch=lambda: int(self.state.epoch or 0),
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.args.num_generations,
            batch_size=self._num_prompts(),
            repeat_count=self._window(),
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
        )

    def _num_prompts(self) -> int:
        """Different prompts of a batch of rollouts, on all processes; no group is cut between two processes."""
        rows = self._train_batch_size * self.accelerator.num_processes * self.args.gradient_accumulation_steps
        return rows // self.args.num_generations

    @property
    def accumulation_step(self) -> int:
        """Number of the accumulation step at hand in the use of its rollout, from 0."""
        return int(self._step % self._window())

    def _window(self) -> int:
        """Accumulation steps for which one batch of rollouts is used."""
        return self.args.gradient_accumulation_steps * self.args.num_iterations

    def _opened(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The rows of a batch, just before they are used."""
        return batch


class EpochSampler(RepeatSampler):
    """TRL's sampler, shuffled by the seed and the number of the epoch alone.

    TRL's own goes on from the state in which the last epoch left its generator, which no checkpoint holds: a run that
    is resumed after the first epoch would see the first epoch's order again.

    Args:
        epoch: returns the number of the epoch that begins.
    """

    def __init__(self, epoch: Callable[[], int], **kwargs: Any):
        super().__init__(**kwargs)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + self._epoch())
        return super().__iter__()
