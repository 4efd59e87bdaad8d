"""Log-probabilities from the whole matrix of logits, in float64: the slow obvious twin of crossdistill.ops and of
LocalTeacher. Differentiable, so that autograd gives the gradients to compare with.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None = None, scale: float = 1.0, softcap: float | None = None
) -> Tensor:
    """float64 [N, V]."""
    raw = hidden.double() @ weight.double().T
    if bias is not None:
        raw = raw + bias.double()
    raw = raw * scale
    return raw if softcap is None else softcap * torch.tanh(raw / softcap)


def log_softmax(values: Tensor, temperature: float = 1.0) -> Tensor:
    """log p from logits, float64, by its definition."""
    scaled = values.double() / temperature
    shifted = scaled - scaled.amax(-1, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(-1, keepdim=True))


def entropy(log_probs: Tensor) -> Tensor:
    return torch.stack([-sum(p.exp() * p for p in row) for row in log_probs])


@torch.no_grad()
def sequence(
    model: Any,
    prompt_ids: Sequence[int],
    response_ids: Sequence[int],
    stop_ids: Sequence[int],
    *,
    temperature: float = 1.0,
) -> tuple[list[float], float]:
    """One sequence through the model itself: log-probabilities of the response, and of stopping after it."""
    ids = torch.tensor([[*prompt_ids, *response_ids]])
    log_probs = log_softmax(model(input_ids=ids).logits[0], temperature)
    before = len(prompt_ids)
    logprobs = [log_probs[before + k - 1, token].item() for k, token in enumerate(response_ids)]
    return logprobs, torch.log(sum(log_probs[-1, token].exp() for token in stop_ids)).item()
