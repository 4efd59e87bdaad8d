"""The algorithm in one object: score what the student sampled, and compute the loss.

Shapes: B responses, C longest response, N supervised tokens, H hidden size, V vocabulary. Column c of a [B, C] tensor
belongs to response token c, not to the state that predicts it.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossdistill.chat import ensure_template, split_response, stop_ids
from crossdistill.chat.determinism import make_deterministic
from crossdistill.chat.ids import refuse_ids
from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.checks import (
    check_arguments,
    check_policy,
    check_signal,
    check_temperature,
    scoring_temperature,
)
from crossdistill.distill.given_logprobs import check_ends, given_logprobs
from crossdistill.distill.group_rewards import (
    Rewards,
    check_reward_weight,
    check_rewards,
    check_takes_rewards,
    with_rewards,
)
from crossdistill.distill.groups import check_groups, check_turns, no_tools
from crossdistill.distill.loss import loss_of
from crossdistill.distill.multi_teacher import MultiTeacherScorer
from crossdistill.distill.names import ONE_TEACHER
from crossdistill.distill.pending import PendingBatch
from crossdistill.distill.response import ScoredBatch, ScoredResponse
from crossdistill.distill.rollout import Rollout, pad
from crossdistill.distill.routing import COLUMN, Routing
from crossdistill.distill.scorer import ResponseScorer, pair_of
from crossdistill.distill.student import StudentLogprobs, StudentModel
from crossdistill.distill.timers import Timers
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.objectives.base import LossSum, Objective, check_objective
from crossdistill.objectives.registry import get
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, LMHead, full_shape
from crossdistill.teachers.base import Teacher, check_teacher
from crossdistill.tokens import ByteVocab

TemplateKwargs = Mapping[str, Any]
Sample = Callable[[Sequence[Prompt]], Sequence[Sequence[int]]]


class Distiller:
    """On-policy distillation across tokenizers, for any training loop.

    Args:
        tokenizer: the student's, of Hugging Face's form; gets the plain chat template if it has none.
        teacher: a :class:`crossdistill.teachers.Teacher`, or several by name. One of the name ``reference`` is
            subtracted (:mod:`crossdistill.distill.routing`).
        objective: its name, an import path, or an :class:`crossdistill.objectives.Objective`.
        student: the model that is trained, a Hugging Face causal language model. It is needed by :meth:`score` without
            `old_logprobs`, and by objectives that train auxiliary heads, which are attached to it.
        vocab_size: how many token ids the student can emit; that of `student`, or of the tokenizer, by default.
        declared_stops: token ids that end the student's turns in addition to those that its tokenizer and template
            name; those of ``student.generation_config`` by default.
        stop_unit: whether the end of a turn is taught (decision 4); off for a teacher that does not end its turns.
        temperature: of the sampling.
        routing: which of several teachers scores what; by the names that :meth:`score` is given by default.
        template_kwargs: keyword arguments of the student's chat template.
        teacher_template_kwargs: of the teacher's chat template; by name if there are several.
        tools: functions that the student may call; both templates are shown them.
        reward_weight: of a reward beside the teacher, if :meth:`score` is given rewards
            (:mod:`crossdistill.distill.group_rewards`).
        text_tokens: special tokens of the student that are read as text (:meth:`ByteVocab.from_tokenizer`).
        pairs: vocabularies that were paired before, by teacher; made if left out.

    Attributes:
        objective, teachers, vocab, stop_ids, temperature: as given or found; `teachers` by name.
        renderer: renders the student's prompts.
        pairs: both vocabularies, by teacher.
        timers: seconds spent in render, align, teacher and credit.
        is_verified: whether the first loss has shown that the policy that trains is the one that sampled.

    Raises:
        InputError: an objective that needs more than the teacher gives, or has no meaning for the pair; or a tokenizer
            whose bytes cannot be verified.

    Example:
        One step of a loop of your own (docs/own-loop.md has the whole)::

            distiller = Distiller(tokenizer, teacher, "dpca", student=student)
            loss, batch = distiller.step(prompts, sample)
            loss.backward()
    """

    def __init__(
        self,
        tokenizer: Any,
        teacher: Teacher | Mapping[str, Teacher],
        objective: str | Objective = "dpca",
        *,
        student: Any = None,
        vocab_size: int | None = None,
        declared_stops: int | Sequence[int] | None = None,
        stop_unit: bool = True,
        temperature: float = 1.0,
        routing: Routing | None = None,
        template_kwargs: TemplateKwargs | None = None,
        teacher_template_kwargs: TemplateKwargs | None = None,
        tools: Sequence[Any] | None = None,
        reward_weight: float = 1.0,
        text_tokens: Collection[str] = (),
        pairs: Mapping[str, VocabPair] | None = None,
    ):
        named = teacher if isinstance(teacher, Mapping) else {ONE_TEACHER: teacher}
        check_arguments(named, student, temperature, routing, teacher_template_kwargs)
        check_reward_weight(reward_weight)
        FindingLog().add_all(make_deterministic(tokenizer, "student"))
        ensure_template(tokenizer)
        self.objective = check_objective(get(objective) if isinstance(objective, str) else objective)
        if tools and self.objective.compares_groups:
            raise no_tools(self.objective)
        self.teachers = {name: check_teacher(one) for name, one in named.items()}
        self.student = student
        self.temperature = temperature
        self.reward_weight = reward_weight
        self.timers = Timers()
        self.is_verified = False
        self._is_same_engine = False
        self.renderer = PromptRenderer(tokenizer, dict(template_kwargs or {}), tools or [])
        self.stop_ids = _stop_ids(tokenizer, student, declared_stops)
        self.pairs = dict(pairs) if pairs else self._pairs(tokenizer, vocab_size, text_tokens, stop_unit)
        self.vocab = next(iter(self.pairs.values())).student
        refuse_ids(self.renderer, len(self.vocab), "student", self.stop_ids)
        self._routing = routing or Routing(tuple(self.teachers))
        self._routing.check((), self.objective)
        scorers = {name: self._scorer(name, teacher_template_kwargs, tools) for name in self.teachers}
        self._scorer_of_all = MultiTeacherScorer(scorers) if len(scorers) > 1 else next(iter(scorers.values()))
        if student is not None:
            self.objective.attach(student)

    # ---- the step -------------------------------------------------------------------------------------------------

    def step(
        self, prompts: Sequence[Prompt], sample: Sample, groups: Sequence[Hashable] | None = None
    ) -> tuple[Tensor, ScoredBatch]:
        """One step of a loop on one process: sample -> score -> loss.

        The student makes one pass, which gives the old log-probs and the loss. Until the first loss has shown that both
        modes are the same policy it makes another one, in evaluation mode, for the old log-probs.

        A trainer with an engine, several processes or micro-batches makes the same three calls apart.

        Args:
            prompts: texts or lists of messages.
            sample: gives the sampled token ids of a response to each prompt.
            groups: as for :meth:`score`, if prompts are repeated.

        Returns:
            The loss, divided by the batch's items, to call ``backward`` on; and the scored batch.
        """
        prompts = _as_prompts(prompts)
        completion_ids = sample(prompts)
        if not self.is_verified:  # the pass that trains is compared with one in evaluation mode
            batch = self.score(prompts, completion_ids, groups=groups)
            return self.loss(batch, *self.student_states(batch)) / batch.num_items, batch
        rollout = self._rollout(prompts, completion_ids, None, None, True, None, groups)
        with self.cancelled_on_error():
            pending = self.submit(rollout)
            passed = self._student_model("its forward pass is wanted").sampled_states(rollout)
            temperature = scoring_temperature(self.objective, self.temperature)
            batch = self.collect([pending], passed.logprobs(pending.stop_positions, self.stop_ids, temperature))
        return self.loss(batch, *passed.supervised(batch.loss_mask)) / batch.num_items, batch

    # ---- scoring --------------------------------------------------------------------------------------------------

    def score(
        self,
        prompts: Sequence[Prompt],
        completion_ids: Sequence[Sequence[int]],
        old_logprobs: Sequence[Any] | Tensor | None = None,
        *,
        stop_logprobs: Sequence[float | None] | None = None,
        teachers: Sequence[str | None] | None = None,
        sampled_masks: Sequence[Sequence[int]] | None = None,
        conversations: Sequence[Sequence[Message]] | None = None,
        is_sampled: bool = True,
        groups: Sequence[Hashable] | None = None,
        rewards: Rewards | None = None,
    ) -> ScoredBatch:
        """Have responses scored by the teacher, and assign credit.

        Args:
            prompts: a text or a list of messages for each row.
            completion_ids: what the student sampled, stop token included if it sampled one, without padding.
            old_logprobs: nats, of each completion token under the policy that sampled, at the sampling temperature:
                rows, or a tensor [B, C]. Without them the student scores its samples in one forward pass.
            stop_logprobs: log of the total probability of all stop tokens at the end of each turn that stopped, else
                None. Without them, the sampled stop token's own log-probability stands in if `old_logprobs` are given
                (decision 4), and the exact mass is computed if not.
            teachers: of each row, the teacher that its data names, if there are several.
            sampled_masks: 1 at sampled tokens, 0 at tool results; None without tools.
            conversations: the messages that followed each prompt, one of the assistant for each turn, with tools.
            is_sampled: whether the student sampled the responses; False for given ones.
            groups: of each row, anything that the responses to one prompt that were sampled together have in common and
                no other row has, such as the number of the prompt; None if each row is alone. Equal texts are not taken
                for a group.
            rewards: of each row, compared within its group and added to its advantages with `reward_weight`; None for
                a row that has none.

        Returns:
            Advantages, loss mask and old log-probs, [B, C].

        Raises:
            InputError: no log-probabilities and no student to compute them, an objective that takes the student's own
                samples alone and other responses, a group whose rows have different prompts or teachers, a row that is
                alone under an objective that compares groups, or rewards that are not finite, have no others to be
                compared with, or that the objective does not read.
            TeacherError: the teacher failed.
        """
        if not is_sampled and self.objective.on_policy_only:
            raise InputError(
                f"objective {self.objective.name!r} weighs what the student itself sampled, so it has no meaning on "
                "other responses: choose another objective."
            )
        if not prompts:
            raise InputError("there is nothing to score: give at least one prompt and its completion.")
        if old_logprobs is None and stop_logprobs is not None:
            raise InputError("stop_logprobs belong to old_logprobs: give both, or neither.")
        described = sampled_masks, conversations, is_sampled, teachers, groups
        rollout = self._rollout(_as_prompts(prompts), completion_ids, *described)
        if rewards is not None:  # before the teacher is asked
            check_takes_rewards(self.objective)
            check_rewards(rewards, rollout.groups)
        with self.cancelled_on_error():
            pending = self.submit(rollout)
            student = self._student_logprobs(pending, old_logprobs, stop_logprobs)
            return self.collect([pending], student, rewards)

    def _rollout(self, prompts: Sequence[Prompt], completion_ids: Sequence[Sequence[int]], *described: Any) -> Rollout:
        """What was sampled, checked; `described` are the further arguments of :meth:`Rollout.of`."""
        rollout = Rollout.of(prompts, self.renderer.render_all(prompts), completion_ids, *described)
        check_ends(rollout, self.stop_ids)
        check_groups(self.objective, rollout)
        return rollout

    def submit(self, rollout: Rollout) -> PendingBatch:
        """Begin to score a rollout; a teacher that computes elsewhere works from now on."""
        if self.objective.compares_groups:
            check_turns(self.objective, rollout)
        responses = [split_response(turn.ids, self.vocab, self.stop_ids) for turn in rollout.turns]
        stops = [response.stop_position for response in responses]
        groups = [rollout.groups[turn.row] for turn in rollout.turns]
        if isinstance(self._scorer_of_all, ResponseScorer):
            return PendingBatch(rollout, stops, self._scorer_of_all.submit(rollout.turns, responses, groups))
        rows = [
            self._routing.of({"prompt": prompt, COLUMN: name})
            for prompt, name in zip(rollout.prompts, rollout.teachers, strict=True)
        ]
        weights = [rows[turn.row] for turn in rollout.turns]
        return PendingBatch(rollout, stops, self._scorer_of_all.submit(rollout.turns, responses, weights, groups))

    def collect(
        self, parts: Sequence[PendingBatch], student: StudentLogprobs, rewards: Rewards | None = None
    ) -> ScoredBatch:
        """Wait for the teachers of submitted rollouts, and assign credit.

        Args:
            parts: one after the other they make up the batch.
            student: log-probabilities of all their turns.
            rewards: of all their rows; see :meth:`score`.
        """
        responses: list[ScoredResponse] = []
        for part in parts:
            own = slice(len(responses), len(responses) + len(part.stop_positions))
            logprobs = StudentLogprobs(student.tokens[own], student.stops[own])
            responses += map(self._bounded, self._scorer_of_all.collect(part.scores, logprobs))  # type: ignore[arg-type]
        rollout = Rollout.concatenate([part.rollout for part in parts])
        if rewards is not None:
            check_takes_rewards(self.objective)
            responses = with_rewards(responses, rollout, rewards, self.reward_weight)
        return ScoredBatch(
            pad(rollout.scatter([item.advantages for item in responses])),
            pad(rollout.scatter([item.mask for item in responses])),
            pad(rollout.scatter([np.asarray(item.student_logprobs, dtype=np.float32) for item in responses])),
            responses,
            rollout,
        )

    def _bounded(self, item: ScoredResponse) -> ScoredResponse:
        bounded = self.objective.bounded(torch.from_numpy(item.advantages)).numpy()
        return item if np.array_equal(bounded, item.advantages) else replace(item, advantages=bounded)

    @contextmanager
    def cancelled_on_error(self) -> Iterator[None]:
        """If this context ends early, nobody waits for a teacher any more: its threads would keep the process alive."""
        try:
            yield
        except BaseException:
            self._scorer_of_all.cancel()
            raise

    # ---- loss -----------------------------------------------------------------------------------------------------

    def loss(self, batch: ScoredBatch, hidden_states: Tensor, lm_head: LMHead | nn.Module) -> Tensor:
        """The objective's loss of a batch, as a sum: divide it by ``batch.num_items``.

        Args:
            batch: scored responses.
            hidden_states: the student's last hidden states, with gradient: [B, C, H], at c the state that *predicts*
                response token c; or [N, H], these states at the supervised tokens alone, row by row.
            lm_head: the student's head: an :class:`crossdistill.ops.LMHead`, or a linear layer that is all of it.

        Returns:
            Scalar; exactly 0 with zero gradient if nothing is supervised.

        Raises:
            FindingError: at the first loss, the policy that trains is not the one that sampled.
        """
        return self.loss_sum(batch, range(len(batch.rollout.prompts)), hidden_states, lm_head).total

    def loss_sum(
        self, batch: ScoredBatch, rows: Sequence[int], hidden_states: Tensor, lm_head: LMHead | nn.Module
    ) -> LossSum:
        """The loss of some rows of a batch, with figures for logs; see :meth:`loss`.

        Args:
            batch: scored responses.
            rows: of the batch, in the order of the states.
            hidden_states: as for :meth:`loss`, of these rows.
            lm_head: as for :meth:`loss`.
        """
        if hidden_states.dim() == 3:
            mask = batch.loss_mask[list(rows)].to(hidden_states.device)
            hidden_states = hidden_states[:, : mask.shape[1]][mask]
        states, responses = HiddenStates(hidden_states, LMHead.of(lm_head)), batch.rows(rows)
        if not self.is_verified:
            temperatures = {scoring_temperature(self.objective, self.temperature), self.temperature}
            self.is_verified = check_policy(responses, states, temperatures, self._is_same_engine, self.student)
        return loss_of(self.objective, responses, states, self.temperature)

    def student_states(self, batch: ScoredBatch) -> HiddenStates:
        """The student's forward pass over a batch, with gradient: the states of the supervised tokens, and the head.

        For a loop on one process; an engine of its own makes the states itself (module `crossdistill.distill.student`).

        Raises:
            InputError: the Distiller was made without its student.
        """
        return self._student_model("its forward pass is wanted").states(batch.rollout, batch.loss_mask)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _pairs(
        self, tokenizer: Any, vocab_size: int | None, text_tokens: Collection[str], stop_unit: bool
    ) -> dict[str, VocabPair]:
        size = vocab_size if self.student is None else full_shape(self.student.get_input_embeddings().weight)[0]
        vocab = ByteVocab.from_tokenizer(tokenizer, size, text_tokens)
        return {name: pair_of(vocab, self.stop_ids, one, stop_unit) for name, one in self.teachers.items()}

    def _scorer(self, name: str, kwargs: TemplateKwargs | None, tools: Sequence[Any] | None) -> ResponseScorer:
        teacher, pair = self.teachers[name], self.pairs[name]
        check_signal(self.objective, teacher)
        check_temperature(self.objective, teacher, self.temperature)
        self.objective.check(pair)
        if pair.student_stops and not pair.teacher_stops:
            raise InputError(
                f"the teacher {name!r} has no stop_ids, so the end of a response has no probability: set them, or make "
                "the Distiller with stop_unit=False."
            )
        own = (kwargs or {}) if len(self.teachers) == 1 else (kwargs or {}).get(name) or {}
        return ResponseScorer(
            self.objective, pair, teacher, PromptRenderer(teacher.tokenizer, dict(own), tools or []), self.timers
        )

    def _student_logprobs(
        self, pending: PendingBatch, old: Sequence[Any] | Tensor | None, stops: Sequence[float | None] | None
    ) -> StudentLogprobs:
        rollout, positions = pending.rollout, pending.stop_positions
        self._is_same_engine = old is None
        if old is not None:
            return given_logprobs(rollout, positions, old, stops)
        temperature = scoring_temperature(self.objective, self.temperature)
        return self._student_model("no old_logprobs are given").logprobs(rollout, positions, self.stop_ids, temperature)

    def _student_model(self, why: str) -> StudentModel:
        if self.student is None:
            raise InputError(f"the Distiller has no student and {why}: make it with student=MODEL.")
        return StudentModel(self.student)


def _as_prompts(prompts: Sequence[Any]) -> list[Prompt]:
    return [as_prompt(prompt, prompt_name(number)) for number, prompt in enumerate(prompts)]


def _stop_ids(tokenizer: Any, student: Any, declared: int | Sequence[int] | None) -> tuple[int, ...]:
    config = getattr(student, "generation_config", None)
    return stop_ids(tokenizer, getattr(config, "eos_token_id", None) if declared is None else declared)
