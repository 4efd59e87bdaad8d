"""Scores of units of several tokens, on the scale of the logits of single tokens.

Shapes: U units. A unit is a span of one side's tokens, int64 [U, 2]: its first token, and the one after its last.
"""

import torch
from torch import Tensor

from crossdistill.credit import chunk_sums
from crossdistill.ops import HiddenStates, chosen_logits, token_logprobs


def unit_logits(states: HiddenStates, ids: Tensor, spans: Tensor, temperature: float) -> Tensor:
    """The mean log-probability of each unit's tokens, plus the log-normaliser of the logits at its first token.

    It compares with the logits there (divided by the temperature) as the mean compares with log-probabilities.

    Args:
        states: the states of all tokens of a side.
        ids: the ids of these tokens; no token of a unit is a stop.
        spans: int64 [U, 2], the units.
        temperature: divides the logits.

    Returns:
        [U], on the device of `spans`, differentiable; -inf if a token of the unit has probability 0.
    """
    sizes = spans.diff()[:, 0]
    splits = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    within = torch.arange(int(splits[-1]), device=spans.device) - splits[:-1].repeat_interleave(sizes)
    tokens = spans[:, 0].repeat_interleave(sizes) + within
    head, device = states.head, states.head.weight.device
    hidden, ids = states.hidden[tokens].to(device), ids[tokens].to(device)
    logprobs = token_logprobs(hidden, head, ids, temperature).logprobs.to(spans.device)
    mean, first = chunk_sums(logprobs, splits) / sizes, splits[:-1]
    logits = chosen_logits(hidden[first.to(device)], head, ids[first.to(device), None])[:, 0].to(spans.device)
    return (mean + logits / temperature - logprobs[first]).masked_fill(mean.isneginf(), -torch.inf)
