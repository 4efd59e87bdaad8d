"""Responses that a local model writes: for SFT on a teacher's text, off-policy batches and evaluation."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from crossdistill.chat import render_prompt, stop_ids
from crossdistill.chat.messages import Prompt
from crossdistill.errors import InputError
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.ops.contiguous import contiguous_head_input
from crossdistill.teachers.base import WrittenResponse
from crossdistill.teachers.generation_defaults import defaults_set_aside
from crossdistill.tokens.special_tokens import control_tokens

__all__ = ["WrittenResponse", "write_responses"]

CONTROL_TOKENS_LEFT_OUT = Kind(
    "control_tokens_left_out",
    Severity.WARNING,
    When.DURING,
    "the teacher wrote its control token {token!r} within a response, which is taught without it: if it is a word of "
    "the response, list it in text_tokens.",
    "the student is taught answers whose parts run into each other, such as reasoning and its result",
)


def write_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    temperature: float = 0.0,
    batch_size: int = 64,
    seed: int = 0,
    first_row: int = 0,
    template_kwargs: Mapping[str, Any] | None = None,
    text_tokens: Collection[str] = (),
) -> Iterator[WrittenResponse]:
    """Write one response to each prompt, in order, as they become ready.

    Nothing of the model's own generation defaults has an effect: greedy is greedy, and samples are the model's own.

    Args:
        model: a Hugging Face causal language model.
        tokenizer: the model's tokenizer; renders the prompts.
        prompts: texts or lists of messages.
        max_new_tokens: most tokens of a response.
        temperature: 0 is greedy.
        batch_size: prompts that are run through the model at once.
        seed: the sampling of a batch depends on it and on the number of the batch's first row only.
        first_row: number of the first prompt: a call that continues an interrupted one counts the rows of that one.
        template_kwargs: keyword arguments of the chat template.
        text_tokens: special tokens that are words of a response.

    Raises:
        InputError: the model has no stop token, or does not write one response to each prompt.
    """
    stops = stop_ids(tokenizer, model.generation_config.eos_token_id)
    if not stops:
        raise InputError("the model that writes responses has no stop token: set its tokenizer's eos_token.")
    for first in range(0, len(prompts), batch_size):
        batch = prompts[first : first + batch_size]
        rows = [torch.tensor(render_prompt(tokenizer, prompt, dict(template_kwargs or {}))) for prompt in batch]
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence([seed, first_row + first]).generate_state(1)[0]))
            generated = generate_ids(model, rows, stops, max_new_tokens, temperature, tokenizer.pad_token_id)
        for ids in generated.tolist():
            yield response_of(ids, stops, tokenizer, text_tokens)


def left_out_findings(responses: Iterable[WrittenResponse]) -> Iterator[Finding]:
    """A warning for each control token that responses are taught without.

    Example:
        >>> [finding] = left_out_findings([WrittenResponse("4", 3, stopped=True, left_out=("<think>",))])
        >>> finding.kind.name
        'control_tokens_left_out'
    """
    for token in dict.fromkeys(token for response in responses for token in response.left_out):
        yield CONTROL_TOKENS_LEFT_OUT(token=token)


@torch.no_grad()
def generate_ids(
    model: Any,
    rows: Sequence[torch.Tensor],
    stops: tuple[int, ...],
    max_new_tokens: int,
    temperature: float = 0.0,
    pad_id: int | None = None,
    processors: Sequence[Any] = (),
) -> torch.Tensor:
    """The new tokens of each row, padded on the right, int64 [rows, at most `max_new_tokens`].

    Args:
        model: a Hugging Face causal language model.
        rows: token ids of each prompt.
        stops: ids that end a response; there is one.
        max_new_tokens: most tokens of a response.
        temperature: 0 is greedy.
        pad_id: of padding; the first stop token by default.
        processors: logits processors of transformers.

    Raises:
        InputError: the model does not write one response to each prompt.
    """
    from transformers import GenerationConfig, LogitsProcessorList

    pad = stops[0] if pad_id is None else pad_id
    input_ids = pad_sequence(list(rows), batch_first=True, padding_value=pad, padding_side="left").to(model.device)
    ones = [torch.ones_like(row) for row in rows]
    mask = pad_sequence(ones, batch_first=True, padding_side="left").to(model.device)
    sampling: dict[str, Any] = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature
        else {"do_sample": False}
    )
    settings = GenerationConfig(max_new_tokens=max_new_tokens, eos_token_id=list(stops), pad_token_id=pad, **sampling)
    with defaults_set_aside(model), contiguous_head_input(model):
        output = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList(processors),
        )
    check_one_each(len(rows), len(output))
    return output[:, input_ids.shape[1] :]


def check_one_each(num_prompts: int, num_responses: int) -> None:
    """Check that a model has answered each prompt once, because answers would stand under other prompts.

    Raises:
        InputError: it has not; a class of the model's own code, say, may override ``generate``.
    """
    if num_responses != num_prompts:
        raise InputError(
            f"the model wrote {num_responses} responses to {num_prompts} prompts, so it is unknown which belongs to "
            "which: use a model whose generate() returns one sequence for each prompt."
        )


def response_of(
    ids: Sequence[int], stops: Collection[int], tokenizer: Any, text_tokens: Collection[str] = ()
) -> WrittenResponse:
    """The response in generated tokens.

    Args:
        ids: of the tokens; what follows the first stop token is padding.
        stops: ids that end a response.
        tokenizer: the model's.
        text_tokens: special tokens that are words of a response.
    """
    end = next((k for k, token in enumerate(ids) if token in stops), None)
    written = ids if end is None else ids[:end]
    names, control = tokenizer.convert_ids_to_tokens(written), control_tokens(tokenizer, text_tokens)
    kept = [token for token, name in zip(written, names, strict=True) if name not in control]
    # "clean up" would take away spaces that the model wrote
    options = {"skip_special_tokens": not text_tokens, "clean_up_tokenization_spaces": False}
    text = tokenizer.decode(kept, **options)
    left_out = tuple(name for name in names if name in control)
    return WrittenResponse(text, len(written) + (end is not None), end is not None, left_out)
