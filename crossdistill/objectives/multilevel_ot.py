"""Multi-level optimal transport (MultiLevelOT, Cui et al. 2412.14528, "Multi-Level Optimal Transport").

In one response, s_i(c) is the student's probability, at the start of chunk c, of its entry of rank i, and t_i(c) the
teacher's: each side ranks its entries once for the whole response, by their probability summed over its chunks, and k
= `ranks` of them are kept (fewer in smaller vocabularies).

    HAD = sum_c sum_i | t_i(c) - s_i(c) |
    SL  = - sum_c sum_i t_i(c) log s_i(c)
    SD  = sum_cd P_cd C_cd,   C_cd = sum_i | t~_i(c) - s~_i(d) |,   x~ proportional to x^(1 / sinkhorn_temperature)
          P = exp(-C / sinkhorn_entropy), its rows and then its columns brought to sum 1, `iterations` times
    L   = HAD + log_weight * SL + sequence_weight * SD

Chunks d are those of the same window of the response, the same number of chunks each, at most `window`. At student ==
teacher HAD is 0; SL is the cross-entropy of the kept entries with themselves and SD what the entropic plan costs, both
above 0, so L has no fixed value there, and its gradient is not 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.shared.divergence import FLOOR_NATS, check_not_negative, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import HiddenStates, LMHead, token_logprobs
from crossdistill.ops.logprobs import TILE_ELEMENTS
from crossdistill.signal import Signal


class _Parts(NamedTuple):
    """Of one response or of several: scalars."""

    absolute: Tensor
    logarithmic: Tensor
    sequence: Tensor


@dataclass(frozen=True)
class MultiLevelOT(Objective):
    """Ranks entries once a response, and moves whole positions; the defaults are the paper's, and `window` ours.

    ranks: entries kept of each side. log_weight, sequence_weight: of SL and SD (the paper's beta and gamma).
    sinkhorn_temperature, sinkhorn_entropy, iterations: tau_SD, lambda and N of the paper. window: chunks that SD looks
    at together; its memory grows with the square. temperature: divides both models' logits.
    """

    name: ClassVar[str] = "multilevel_ot"
    signal: ClassVar[Signal] = Signal.DENSE

    ranks: int = 50
    log_weight: float = 0.1
    sequence_weight: float = 0.1
    sinkhorn_temperature: float = 2.0
    sinkhorn_entropy: float = 0.1
    iterations: int = 20
    window: int = 256
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for option in ("ranks", "iterations", "window"):
            if getattr(self, option) < 1:
                raise InputError(f"{option} must be at least 1, not {getattr(self, option)}.")
        check_positive(
            sinkhorn_temperature=self.sinkhorn_temperature,
            sinkhorn_entropy=self.sinkhorn_entropy,
            temperature=self.temperature,
        )
        check_not_negative(log_weight=self.log_weight, sequence_weight=self.sequence_weight)

    def weight(self, batch: AlignedBatch) -> float:
        """Chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """Sum over chunks; stats hold the three parts before their weights."""
        batch, (student, teacher) = inputs.batch, inputs.at_chunk_starts()
        ranks = min(self.ranks, student.head.vocab_size, teacher.head.vocab_size)
        responses = [slice(*ends) for ends in pairwise(batch.response_splits.tolist()) if ends[0] < ends[1]]
        ours = self._ranked(student, responses, ranks)
        theirs = [self._constant(teacher._replace(hidden=teacher.hidden[part]), ranks) for part in responses]
        return self._of_ranked(ours, [side.to(ours.device) for side in theirs], responses)

    @torch.no_grad()
    def _constant(self, states: HiddenStates, ranks: int) -> Tensor:
        """log of t_i(c) in one response: [c, k]."""
        kept, normaliser = _top_of_sum(states, ranks, self.temperature)
        logits = _few(states.head, kept).logits(states.hidden) / self.temperature
        return (logits - normaliser[:, None]).clamp(min=FLOOR_NATS)

    def _ranked(self, states: HiddenStates, responses: list[slice], ranks: int) -> Tensor:
        """log of s_i(c) in all responses: [C, k], differentiable.

        The logits of the kept entries are few; what normalises them is read off one entry's log-probability.
        """
        hidden, head = states
        parts = [hidden[part] for part in responses]
        kept = [_top_of_sum(HiddenStates(part.detach(), head), ranks, self.temperature).ids for part in parts]
        rows = [ids[:1].expand(len(part)) for ids, part in zip(kept, parts, strict=True)]
        first = torch.cat([torch.zeros(0, dtype=torch.long, device=hidden.device), *rows])
        anchor = token_logprobs(hidden, head, first, self.temperature).logprobs[:, None]
        if not responses:
            return anchor
        few = [_few(head, ids).logits(part) / self.temperature for ids, part in zip(kept, parts, strict=True)]
        logits = torch.cat(few)
        return (anchor + (logits - logits[:, :1])).clamp(min=FLOOR_NATS)

    def _of_ranked(self, ours: Tensor, theirs: list[Tensor], responses: list[slice]) -> LossSum:
        """The loss of log s, [C, k], and of log t of each response, [c, k].

        A window's gradient is taken before the next one is looked at, so that only one is held.
        """
        leaf = ours.detach().requires_grad_(ours.requires_grad and torch.is_grad_enabled())
        slope = torch.zeros_like(ours)
        sums = torch.zeros(3, dtype=ours.dtype, device=ours.device)
        for part, log_t in zip(responses, theirs, strict=True):
            for window in _windows(part, self.window):
                with torch.set_grad_enabled(leaf.requires_grad):
                    piece = leaf[window]
                    parts = self._parts(piece, log_t[window.start - part.start : window.stop - part.start])
                    loss = parts.absolute + self.log_weight * parts.logarithmic + self.sequence_weight * parts.sequence
                if leaf.requires_grad:
                    slope[window] = torch.autograd.grad(loss, piece)[0]
                sums += torch.stack(parts).detach()
        total = sums[0] + self.log_weight * sums[1] + self.sequence_weight * sums[2]
        linear = (slope * ours).sum()  # has the gradient of the loss
        stats = dict(zip(("absolute", "logarithmic", "sequence"), sums, strict=True))
        return LossSum(total + linear - linear.detach(), stats)

    def _parts(self, ours: Tensor, theirs: Tensor) -> _Parts:
        """HAD, SL and SD of log s and log t, [c, k]."""
        t = theirs.exp()
        absolute = (t - ours.exp()).abs().sum()
        logarithmic = -(t * ours).sum()
        soft_t, soft_s = (torch.softmax(side / self.sinkhorn_temperature, -1) for side in (theirs, ours))
        return _Parts(absolute, logarithmic, self._transport(torch.cdist(soft_t, soft_s, p=1)))

    def _transport(self, cost: Tensor) -> Tensor:
        """What Sinkhorn's plan costs: [c, d] -> scalar."""
        log_plan = -cost / self.sinkhorn_entropy
        for _ in range(self.iterations):
            log_plan = torch.log_softmax(log_plan, dim=1)
            log_plan = torch.log_softmax(log_plan, dim=0)
        return (log_plan.exp() * cost).sum()


def _windows(part: slice, most: int) -> list[slice]:
    """A response's chunks in as few windows as may be, of sizes that differ by at most 1."""
    size = part.stop - part.start
    count = -(-size // most)
    ends = [part.start + size * k // count for k in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


class _Top(NamedTuple):
    """ids: int64 [k]. normaliser: log of the sum of the exponentials of each row's logits, [c]."""

    ids: Tensor
    normaliser: Tensor


@torch.no_grad()
def _top_of_sum(states: HiddenStates, ranks: int, temperature: float) -> _Top:
    """The entries of the largest probability summed over all rows, in descending order."""
    hidden, head = states
    sums = torch.zeros(head.vocab_size, dtype=torch.float64, device=hidden.device)
    normalisers = []
    for tile in hidden.split(max(1, TILE_ELEMENTS // head.vocab_size)):
        logits = head.logits(tile) / temperature
        normalisers.append(logits.logsumexp(-1))
        sums += (logits - normalisers[-1][:, None]).exp_().sum(0)
    return _Top(sums.topk(ranks).indices, torch.cat(normalisers))


def _few(head: LMHead, ids: Tensor) -> LMHead:
    """The same head for some entries alone."""
    bias = None if head.bias is None else head.bias[ids]
    return LMHead(head.weight[ids], bias, head.scale, head.softcap)
