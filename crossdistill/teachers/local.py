"""A teacher in this process: a Hugging Face model."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdistill.align import DropReason
from crossdistill.chat import ensure_template, stop_ids
from crossdistill.chat.determinism import make_deterministic
from crossdistill.chat.ids import refuse_ids
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog, Kind, Severity, When
from crossdistill.flops import ModelFlops
from crossdistill.ops import (
    MICRO_BATCH_TOKENS,
    HiddenStates,
    LMHead,
    TopLogprobs,
    holds_mask,
    last_hidden_states,
    log_mass,
    micro_batches,
    token_logprobs,
    top_logprobs,
)
from crossdistill.ops.trace import where_not_finite
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher, TeacherFindingError, TeacherRequest, TeacherScore, WrittenResponse
from crossdistill.teachers.kept_states import KeptStates, StatesIn
from crossdistill.teachers.writing import write_responses
from crossdistill.tokens import ByteVocab

NOT_FINITE = Kind(
    "teacher_not_finite",
    Severity.REFUSAL,
    When.DURING,
    "the teacher's log-probabilities of a response are not finite: {where} overflows first. Load it in bfloat16 or "
    "float32 (teacher_model_init_kwargs), whose range is wider, or mend its weights.",
    "such responses teach nothing: if they are all of a run, it ends well and has trained nothing",
)


class LocalTeacher(Teacher):
    """Scores responses with a Hugging Face causal language model; only what is asked for is computed.

    Args:
        model: the teacher's model; it is put in evaluation mode and never trained.
        tokenizer: the model's tokenizer; gets the plain chat template if it has none.
        batch_tokens: tokens, padding included, to run through the model at once; one longer response runs alone.
        temperature: divides the logits of the log-probabilities. Hidden states are those of temperature 1.
        text_tokens: special tokens that are read as text (:meth:`crossdistill.ByteVocab.from_tokenizer`).
        template_kwargs: keyword arguments of its chat template, for the responses that it writes.
        keeps_states: where hidden states wait for the loss: disk or memory (module `kept_states`).

    Attributes:
        model: see above.

    Raises:
        InputError: the tokenizer's bytes cannot be verified, the model's vocabulary is smaller than the tokenizer's,
            there is no stop token, the architecture's output head is not supported, or there is no such place for
            states.

    Example:
        The demo's teacher, with 0.9 million parameters:

        >>> from importlib.resources import files
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer
        >>> folder = files("crossdistill.demo") / "assets" / "teacher"
        >>> tokenizer = AutoTokenizer.from_pretrained(folder)
        >>> teacher = LocalTeacher(AutoModelForCausalLM.from_pretrained(folder), tokenizer)
        >>> prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Add 2 and 3.", "5"))
        >>> (score,) = teacher.score([TeacherRequest(prompt, answer, stopped=True)])
        >>> len(score.logprobs) == len(answer), score.stop_logprob < 0
        (True, True)
    """

    signal = Signal.DENSE
    can_write = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        batch_tokens: int = MICRO_BATCH_TOKENS,
        temperature: float = 1.0,
        text_tokens: Collection[str] = (),
        template_kwargs: Mapping[str, Any] | None = None,
        keeps_states: str = StatesIn.DISK,
    ):
        self._states_in = StatesIn.of(keeps_states)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        FindingLog().add_all(make_deterministic(tokenizer, "teacher"))
        ensure_template(tokenizer)
        size = model.get_input_embeddings().weight.shape[0]
        self.vocab = ByteVocab.from_tokenizer(tokenizer, size, text_tokens)
        self._text_tokens = tuple(text_tokens)
        self.stop_ids = stop_ids(tokenizer, model.generation_config.eos_token_id)
        if not self.stop_ids:
            raise InputError(
                "the teacher declares no stop token, so the end of a response has no probability: set its tokenizer's "
                "eos_token."
            )
        refuse_ids(PromptRenderer(tokenizer, {}, []), size, "teacher", self.stop_ids)
        self.max_length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._head = LMHead.from_model(model)
        self._flops = ModelFlops.of(model)
        self.num_params = self._flops.params
        self._head.verify(model)
        self._batch_tokens = batch_tokens
        self._template_kwargs = template_kwargs
        self.temperature = temperature

    @property
    def flops(self) -> ModelFlops:
        """Counted from its weights and its configuration."""
        return self._flops

    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[TeacherScore | DropReason]:
        """Score responses; one that exceeds the model's context gets TEACHER_CONTEXT. See :meth:`Teacher.score`.

        Raises:
            TeacherFindingError: the model's log-probabilities are NaN.
            OutOfSpaceError: the disk that its states wait on is full.
            InputError: there is no file for them for another reason.
        """
        fitting = [k for k, request in enumerate(requests) if self._fits(request)]
        lengths = [_length(requests[k]) for k in fitting]
        scores: dict[int, TeacherScore] = {}
        with KeptStates(self._states_in) as kept:
            for batch in micro_batches(lengths, self._batch_tokens, holds_mask=holds_mask(self.model)):
                rows = [fitting[row] for row in batch]
                of_batch = self._score_batch([requests[k] for k in rows], signal, top_k, kept)
                scores.update(zip(rows, of_batch, strict=True))
            if signal is Signal.DENSE:
                states = [HiddenStates(own, self._head) for own in kept.all()]
                pairs = zip(scores.items(), states, strict=True)
                scores = {k: replace(score, states=own) for (k, score), own in pairs}
        return [scores.get(k, DropReason.TEACHER_CONTEXT) for k in range(len(requests))]

    def write(
        self, prompts: Sequence[Any], max_new_tokens: int, temperature: float, seed: int, first_row: int
    ) -> Iterator[WrittenResponse]:
        """Write one response to each prompt, in order, as they become ready. See :meth:`Teacher.write`."""
        return write_responses(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens,
            temperature,
            seed=seed,
            first_row=first_row,
            template_kwargs=self._template_kwargs,
            text_tokens=self._text_tokens,
        )

    def set_temperature(self, temperature: float) -> None:
        """Give log-probabilities at this temperature from now on; any positive one is possible."""
        self.temperature = temperature

    def _fits(self, request: TeacherRequest) -> bool:
        return self.max_length is None or _length(request) <= self.max_length

    @torch.no_grad()
    def _score_batch(
        self, requests: Sequence[TeacherRequest], signal: Signal, top_k: int, kept: KeptStates
    ) -> Iterator[TeacherScore]:
        """Scores without states, which go to `kept`."""
        device = self._head.weight.device
        rows = [torch.tensor([*request.prompt_ids, *request.response_ids]) for request in requests]
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = (torch.arange(input_ids.shape[1], device=device) < lengths[:, None]).long()
        hidden = last_hidden_states(self.model, input_ids, mask)
        # the state at the token before predicts a token; the state at the last token predicts what follows the response
        states = [hidden[b, len(r.prompt_ids) - 1 : len(rows[b])] for b, r in enumerate(requests)]
        tokens = [row[len(r.prompt_ids) :] for row, r in zip(rows, requests, strict=True)]
        before = torch.cat([part[:-1] for part in states])
        logprobs = token_logprobs(before, self._head, torch.cat(tokens).to(device), self.temperature).logprobs
        final = torch.stack([part[-1] for part in states])
        stops = log_mass(final, self._head, torch.tensor(self.stop_ids, device=device), self.temperature).tolist()
        self._check_finite(logprobs, stops, input_ids, mask)
        split = logprobs.cpu().split([len(part) for part in tokens])
        for request, part, stop, own in zip(requests, split, stops, states, strict=True):
            score = TeacherScore(part.numpy().astype(np.float32), stop if request.stopped else None)
            if signal is Signal.DENSE:
                kept.add(own)
            yield self._with_top(score, own, top_k) if signal is Signal.TOPK else score

    def _check_finite(self, logprobs: Tensor, stops: Sequence[float], input_ids: Tensor, mask: Tensor) -> None:
        """A probability of 0 means what it says; NaN means that the teacher has no distribution at all.

        Raises:
            TeacherFindingError: some are NaN; the message names the weight or layer.
        """
        if bool(logprobs.isnan().any()) or any(map(math.isnan, stops)):
            passed = where_not_finite(self.model, lambda: self.model(input_ids=input_ids, attention_mask=mask))
            raise TeacherFindingError(NOT_FINITE(where=passed or "its output head"))

    def _with_top(self, score: TeacherScore, states: Tensor, top_k: int) -> TeacherScore:
        top = top_logprobs(states, self._head, top_k, self.temperature)
        return replace(score, topk=TopLogprobs(top.ids.cpu(), top.logprobs.cpu()))


def _length(request: TeacherRequest) -> int:
    return len(request.prompt_ids) + len(request.response_ids)
