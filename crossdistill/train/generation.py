"""What the student samples, turn by turn, how probable it was, and how long it is used.

Overridden of TRL 1.16 (pinned by tests/train/test_trl_contract.py): ``_tokenize_prompts`` (one renderer for both
sides), ``_generate_single_turn`` and ``_tool_call_loop`` (they keep what TRL does not hand on), the sampler and
``_prepare_inputs`` (several optimisation steps a rollout).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from trl import DistillationTrainer
from trl.trainer.utils import RepeatSampler, shuffle_sequence_dict, split_tensor_dict

from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.rollout import Rollout, TurnLogprobs
from crossdistill.distill.student import PolicyBatch, sampled_logprobs


class GenerationTrainer(DistillationTrainer):
    """TRL's trainer, whose rollouts are told apart into turns.

    Attributes:
        student_side: how the student's prompts are rendered. scoring_temperature: of the student's log-probabilities.
    """

    vllm_generation: Any
    _buffered_inputs: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        template_kwargs = dict(self.chat_template_kwargs)
        if self.chat_template is not None:  # with tools TRL takes one that renders earlier turns alike at any time
            template_kwargs["chat_template"] = self.chat_template
        self.student_side = PromptRenderer(self._tokenizer, template_kwargs, self.tools)
        self.scoring_temperature = self.temperature
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

    def sample(self, prompts: list[Prompt]) -> Rollout:
        """One completion a prompt, with the calls of tools and their results in it."""
        self._conversations = None
        prompt_ids, completion_ids, sampled_masks, *_ = self._generate(prompts)
        return Rollout.of(prompts, prompt_ids, completion_ids, sampled_masks, self._conversations)

    def sampled_logprobs(
        self, rollout: Rollout, batch: PolicyBatch, stops: Sequence[int | None]
    ) -> tuple[list[np.ndarray], list[float | None]]:
        """Of each turn: log-probabilities under the policy that sampled, and the stop mass where it stopped.

        vLLM's own, where vLLM sampled, so that its mismatch with the training engine is corrected by the ratio.

        Args:
            batch: the rollout's rows. stops: position of each turn's stop token in it, None where it has none.
        """
        if self.use_vllm and rollout.is_sampled:
            rows = self._turn_logprobs.take(rollout)
            return rows, [None if stop is None else float(row[stop]) for row, stop in zip(rows, stops, strict=True)]
        stop_mask = torch.zeros_like(batch["completion_mask"])
        for turn, stop in zip(rollout.turns, stops, strict=True):
            if stop is not None:
                stop_mask[turn.row, turn.start + stop] = True
        student = self.accelerator.unwrap_model(self.model_wrapped)
        stop_ids = torch.tensor(self.eos_token_ids, device=stop_mask.device)
        logprobs, masses = [], []
        size = self.args.per_device_train_batch_size if self.model.training else self.args.per_device_eval_batch_size
        for first in range(0, len(stop_mask), size):
            part: Any = {key: value[first : first + size] for key, value in cast(dict[str, Tensor], batch).items()}
            arguments = (student, part, stop_mask[first : first + size], stop_ids, self.scoring_temperature)
            with self.accelerator.autocast():
                rows, mass = self._forward_redirection(self.model_wrapped, student, sampled_logprobs, *arguments)
            logprobs.extend(rows.cpu().numpy())
            masses.extend(mass.tolist())  # row by row, and within a row from left to right: the order of the turns
        remaining = iter(masses)
        return rollout.collect(logprobs), [None if stop is None else next(remaining) for stop in stops]

    def _tokenize_prompts(self, prompts: list[Prompt]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The student's prompts by the same rules as the teacher's."""
        return [self.student_side.render(prompt) for prompt in prompts], None, {}

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, has_tool_images: bool = False
    ) -> Any:
        completion_ids = super()._generate_single_turn(prompt_ids, images, multimodal_fields, has_tool_images)
        if self.use_vllm:
            self._turn_logprobs.record(prompt_ids, self.vllm_generation.take())
        return completion_ids

    def _tool_call_loop(
        self, prompts: Any, prompt_ids: Any, completion_ids: Any, completions: Any, images: Any, multimodal_fields: Any
    ) -> Any:
        result = super()._tool_call_loop(prompts, prompt_ids, completion_ids, completions, images, multimodal_fields)
        self._conversations = result[1]
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


class EpochSampler(RepeatSampler):
    """TRL's sampler, shuffled by the seed and the number of the epoch alone.

    TRL's own goes on from the state in which the last epoch left its generator, which no checkpoint holds: a run that
    is resumed after the first epoch would see the first epoch's order again.

    Args:
        epoch: asked for the number of the epoch that begins.
    """

    def __init__(self, epoch: Callable[[], int], **kwargs: Any):
        super().__init__(**kwargs)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + self._epoch())
        return super().__iter__()
