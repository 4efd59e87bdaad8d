"""The student's log-probabilities of its own samples.

Shapes: B responses, C longest response, L longest sequence, H hidden size. Sequences (prompt, then response) are padded
on the right. Response token k of row b stands at ``prompt_lengths[b] + k`` and is predicted by the state before it.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from crossdistill.ops import HiddenStates, LMHead, last_hidden_states, log_mass, token_logprobs


class PolicyBatch(TypedDict):
    """input_ids, attention_mask: [B, L]. prompt_lengths: [B]. completion_ids: [B, C]. completion_mask: bool [B, C]."""

    input_ids: Tensor
    attention_mask: Tensor
    prompt_lengths: Tensor
    completion_ids: Tensor
    completion_mask: Tensor


def collate(
    prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> PolicyBatch:
    """Prompts and responses as tensors on `device`."""
    sequences = [torch.tensor([*p, *c]) for p, c in zip(prompt_ids, completion_ids, strict=True)]
    completions = [torch.tensor(ids, dtype=torch.long) for ids in completion_ids]
    return {
        "input_ids": pad_sequence(sequences, batch_first=True, padding_value=pad_id).to(device),
        "attention_mask": pad_sequence([torch.ones_like(s) for s in sequences], batch_first=True).to(device),
        "prompt_lengths": torch.tensor([len(ids) for ids in prompt_ids], device=device),
        "completion_ids": pad_sequence(completions, batch_first=True, padding_value=pad_id).to(device),
        "completion_mask": pad_sequence([torch.ones_like(c).bool() for c in completions], batch_first=True).to(device),
    }


def policy_states(model: Any, batch: PolicyBatch, mask: Tensor) -> HiddenStates:
    """The states that predict the response tokens that bool [B, C] `mask` selects, in row order: [N, H]."""
    return HiddenStates(_predicting_states(_hidden(model, batch), batch, mask), LMHead.from_model(model))


@torch.no_grad()
def sampled_logprobs(
    model: Any, batch: PolicyBatch, stop_mask: Tensor, stop_ids: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Of all sampled tokens: float32 [B, C], 0 at padding; and the stop mass at the positions in `stop_mask`: [K]."""
    hidden, head, mask = _hidden(model, batch), LMHead.from_model(model), batch["completion_mask"]
    states = _predicting_states(hidden, batch, mask)
    logprobs = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    logprobs[mask] = token_logprobs(states, head, batch["completion_ids"][mask], temperature).logprobs
    return logprobs, log_mass(_predicting_states(hidden, batch, stop_mask), head, stop_ids, temperature)


def _hidden(model: Any, batch: PolicyBatch) -> Tensor:
    longest = int(batch["attention_mask"].sum(1).max())  # a slice of a larger batch may be padded further
    return last_hidden_states(model, batch["input_ids"][:, :longest], batch["attention_mask"][:, :longest])


def _predicting_states(hidden: Tensor, batch: PolicyBatch, mask: Tensor) -> Tensor:
    rows, columns = mask.nonzero(as_tuple=True)
    return hidden[rows, batch["prompt_lengths"][rows] + columns - 1]
