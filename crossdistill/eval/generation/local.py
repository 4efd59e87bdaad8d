"""Responses of a model in this process."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from crossdistill.chat import ensure_template, stop_ids
from crossdistill.errors import InputError
from crossdistill.eval.generation.base import Generator, Wanted, Written
from crossdistill.eval.generation.choice import generator_of
from crossdistill.eval.generation.prompts import by_problem, check_room, rendered
from crossdistill.eval.sampling import Sampling

BATCH_TOKENS = 32_768
"""Most tokens of prompts and responses in a batch, each response counted at its full length."""


class LocalGenerator(Generator):
    """Samples a Hugging Face causal language model, in batches that finished responses leave and others enter.

    Nothing of the model's own generation defaults has an effect, and no shared random number generator is used.

    Args:
        model: a Hugging Face causal language model in evaluation mode, perhaps with adapters.
        tokenizer: the model's; it gets the plain chat template if it has none.
        batch_tokens: most tokens of a batch: rows times the longest prompt and response, the response at its limit.

    Raises:
        InputError: the model has no stop token.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int = BATCH_TOKENS):
        ensure_template(tokenizer)
        self._model, self._tokenizer, self._batch_tokens = model, tokenizer, batch_tokens
        self._stops = stop_ids(tokenizer, model.generation_config.eos_token_id)
        if not self._stops:
            raise InputError("the model has no stop token, so no response would end: set its tokenizer's eos_token.")

    def write(self, wanted: Sequence[Wanted], sampling: Sampling) -> Iterator[Written]:
        """See :meth:`Generator.write`. The longest prompts come first, so that memory is tried at once.

        Raises:
            InputError: a prompt leaves no room for a response, or the model keeps its state in an unknown form.
        """
        from crossdistill.eval.generation.decoding import decode
        from crossdistill.eval.generation.row import Row, Settings
        from crossdistill.teachers.writing import response_of

        prompts = rendered(self._tokenizer, list(by_problem(wanted).values()), sampling)
        context = context_of(self._model.config)
        check_room(prompts, context)
        order = sorted(wanted, key=lambda one: (-len(prompts[one.problem.id]), one.problem.id, one.index))
        rows = [
            Row(
                number=number,
                prompt=prompts[one.problem.id],
                limit=response_limit(len(prompts[one.problem.id]), sampling.max_tokens, context),
                random=generator_of(sampling.seed, one.problem.id, one.index),
            )
            for number, one in enumerate(order)
        ]
        settings = Settings(self._stops, sampling.temperature, sampling.top_p, self._batch_tokens)
        for row in decode(self._model, rows, settings):
            response = response_of(row.ids, self._stops, self._tokenizer)
            yield Written(
                wanted=order[row.number],
                response=response.text,
                finish_reason="stop" if response.stopped else "length",
                tokens=response.num_tokens,
                seconds=time.monotonic() - row.began,
                prompt_tokens=len(row.prompt),
            )


def context_of(config: Any) -> int | None:
    """Tokens that a model's context holds; None if its configuration does not say.

    Args:
        config: of the model.
    """
    length = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def response_limit(num_prompt: int, max_tokens: int, context: int | None) -> int:
    """Most tokens of a response: what was asked for, or what the context still holds.

    Example:
        >>> response_limit(100, 512, context=2048), response_limit(100, 512, context=256)
        (512, 156)
    """
    return max_tokens if context is None else min(max_tokens, context - num_prompt)
