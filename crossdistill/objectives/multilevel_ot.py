"""Multi-level optimal transport (MultiLevelOT, Cui et al. 2412.14528, "Multi-Level Optimal Transport").

In one response, s_i(c) is the student's probability, at the start of chunk c, of its entry of rank i, and t_i(c) the
teacher's. Each side ranks its entries once for the whole response, by their probability summed over its chunks, and
keeps the first k = `ranks` (fewer in smaller vocabularies).

    HAD = sum_c sum_i | t_i(c) - s_i(c) |
    SL  = - sum_c sum_i t_i(c) log s_i(c)
    SD  = sum_cd P_cd C_cd,   C_cd = sum_i | t~_i(c) - s~_i(d) |,   x~ proportional to x^(1 / sinkhorn_temperature)
          P = exp(-C / sinkhorn_entropy), its rows and then its columns brought to sum 1, `iterations` times
    L   = HAD + log_weight * SL + sequence_weight * SD

c and d run over the same window of the response; windows have the same number of chunks, at most `window`.
Probabilities below e^-100 (`FLOOR_NATS`) count as e^-100, without a gradient. At student == teacher HAD is 0; SL is the
cross-entropy of the kept entries with themselves and SD the cost of the entropic plan, both above 0, so L has no fixed
value there, and its gradient is not 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.divergence import FLOOR_NATS, check_not_negative, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import HiddenStates, tiled_values
from crossdistill.ops.pieces import TILE_ELEMENTS, logit_pieces
from crossdistill.signal import Signal


class _Parts(NamedTuple):
    """HAD, SL and SD of a window: scalars."""

    absolute: Tensor
    logarithmic: Tensor
    sequence: Tensor


@dataclass(frozen=True)
class MultiLevelOT(Objective):
    """Optimal transport between ranked entries and between positions; the defaults are the paper's, except `window`.

    Attributes:
        ranks: entries that each side keeps.
        log_weight: weight of SL (the paper's beta).
        sequence_weight: weight of SD (the paper's gamma).
        sinkhorn_temperature: the paper's tau_SD.
        sinkhorn_entropy: the paper's lambda.
        iterations: the paper's N.
        window: chunks among which SD moves positions; its memory grows with the square.
        temperature: divides both models' logits.

    Example:
        >>> MultiLevelOT(ranks=20).signal.value
        'dense'
    """

    name: ClassVar[str] = "multilevel_ot"

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

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return (
            f"compares sorted probabilities at {measure.num_chunks:,} chunks: no entry need be shared, none is "
            "recognised"
        )

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks. Stats: the three parts before their weights."""
        batch, (student, teacher) = inputs.batch, inputs.at_chunk_starts()
        ranks = min(self.ranks, student.head.vocab_size, teacher.head.vocab_size)
        responses = [slice(*ends) for ends in pairwise(batch.response_splits.tolist()) if ends[0] < ends[1]]
        ours = self._ranked_student(student, responses, ranks)
        theirs = [self._ranked_teacher(teacher._replace(hidden=teacher.hidden[part]), ranks) for part in responses]
        return self._loss_of_ranked(ours, [side.to(ours.device) for side in theirs], responses)

    @torch.no_grad()
    def _ranked_teacher(self, states: HiddenStates, ranks: int) -> Tensor:
        """log of t_i(c) in one response: [c, k], constant."""
        top = _top_of_sum(states, ranks, self.temperature)
        return _log_probs_of_kept(states, top, self.temperature).clamp(min=FLOOR_NATS)

    def _ranked_student(self, states: HiddenStates, responses: list[slice], ranks: int) -> Tensor:
        """log of s_i(c) in all responses: [C, k], differentiable."""
        hidden, head = states
        constant = [HiddenStates(hidden[part].detach(), head) for part in responses]
        tops = [_top_of_sum(part, ranks, self.temperature) for part in constant]
        pairs = zip(constant, tops, strict=True)
        known = [hidden.new_zeros(0, ranks), *(_log_probs_of_kept(part, top, self.temperature) for part, top in pairs)]
        ids = [top.ids.expand(len(top.normaliser), -1) for top in tops]
        kept = torch.cat([torch.zeros(0, ranks, dtype=torch.long, device=hidden.device), *ids])

        def log_probs(logits: Tensor, rows: slice) -> Tensor:
            tempered = logits if self.temperature == 1 else logits / self.temperature
            return tempered.gather(1, kept[rows]) - tempered.logsumexp(-1, keepdim=True)

        return tiled_values(log_probs, hidden, head, torch.cat(known)).clamp(min=FLOOR_NATS)

    def _loss_of_ranked(self, ours: Tensor, theirs: list[Tensor], responses: list[slice]) -> LossSum:
        """The loss of log s, [C, k], and of log t of each response, [c, k].

        The gradient of a window is taken before the next window is computed, so that only one graph is held.
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
        """The cost of Sinkhorn's plan: [c, d] -> scalar."""
        log_plan = -cost / self.sinkhorn_entropy
        for _ in range(self.iterations):
            log_plan = torch.log_softmax(log_plan, dim=1)
            log_plan = torch.log_softmax(log_plan, dim=0)
        return (log_plan.exp() * cost).sum()


def _windows(part: slice, most: int) -> list[slice]:
    """The fewest windows of at most `most` chunks that hold a response; their sizes differ by at most 1."""
    size = part.stop - part.start
    count = -(-size // most)
    ends = [part.start + size * k // count for k in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


class _Top(NamedTuple):
    """The kept ids, int64 [k], and the log of the sum of the exponentials of each row's logits, [c]."""

    ids: Tensor
    normaliser: Tensor


@torch.no_grad()
def _top_of_sum(states: HiddenStates, ranks: int, temperature: float) -> _Top:
    """The entries with the largest probability summed over all rows, in descending order."""
    hidden, head = states
    sums = torch.zeros(head.vocab_size, dtype=torch.float64, device=head.weight.device)
    normalisers = []
    for _, logits in logit_pieces(hidden, head, temperature, TILE_ELEMENTS):
        top = logits.amax(-1, keepdim=True)
        exponentials = logits.sub_(top).exp_()
        totals = exponentials.sum(-1)
        sums += exponentials.T @ (1 / totals)
        normalisers.append(top[:, 0] + totals.log())
    return _Top(sums.topk(ranks).indices, torch.cat(normalisers))


@torch.no_grad()
def _log_probs_of_kept(states: HiddenStates, top: _Top, temperature: float) -> Tensor:
    """[c, k]; not clamped, since a clamp passes on the gradient of what lies at the floor already."""
    logits = states.head.of_ids(top.ids).logits(states.hidden.to(top.ids.device)) / temperature
    return logits - top.normaliser[:, None]
