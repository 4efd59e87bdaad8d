"""Responses that a local model writes: for SFT on a teacher's text, off-policy batches and evaluation."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from crossdistill.chat import render_prompt, stop_ids
from crossdistill.chat.messages import Prompt
from crossdistill.teachers.base import WrittenResponse

__all__ = ["WrittenResponse", "write_responses"]


def write_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    temperature: float = 0.0,
    batch_size: int = 64,
    seed: int = 0,
    first_row: int = 0,
) -> Iterator[WrittenResponse]:
    """Write one response to each prompt, in order, as they become ready.

    Args:
        model: a Hugging Face causal language model.
        tokenizer: the model's tokenizer; renders the prompts.
        prompts: texts or lists of messages.
        max_new_tokens: most tokens of a response.
        temperature: 0 is greedy.
        batch_size: prompts that are run through the model at once.
        seed: the sampling of a batch depends on it and on the number of the batch's first row only.
        first_row: number of the first prompt: a call that continues an interrupted one counts the rows of that one.
    """
    stops = stop_ids(tokenizer, model.generation_config.eos_token_id)
    for first in range(0, len(prompts), batch_size):
        rows = [torch.tensor(render_prompt(tokenizer, prompt)) for prompt in prompts[first : first + batch_size]]
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence([seed, first_row + first]).generate_state(1)[0]))
            generated = _generate(model, rows, stops, max_new_tokens, temperature, tokenizer.pad_token_id)
        for ids in generated.tolist():
            yield _response(ids, stops, tokenizer)


@torch.no_grad()
def _generate(
    model: Any,
    rows: list[torch.Tensor],
    stops: tuple[int, ...],
    max_new_tokens: int,
    temperature: float,
    pad_id: int | None,
) -> torch.Tensor:
    pad = stops[0] if pad_id is None else pad_id
    input_ids = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side="left").to(model.device)
    ones = [torch.ones_like(row) for row in rows]
    mask = pad_sequence(ones, batch_first=True, padding_side="left").to(model.device)
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature
        else {"do_sample": False}
    )
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stops),
        pad_token_id=pad,
        **sampling,
    )
    return output[:, input_ids.shape[1] :]


def _response(ids: list[int], stops: tuple[int, ...], tokenizer: Any) -> WrittenResponse:
    end = next((k for k, token in enumerate(ids) if token in stops), None)
    text = tokenizer.decode(ids if end is None else ids[:end], skip_special_tokens=True)
    return WrittenResponse(text, len(ids) if end is None else end + 1, end is not None)
