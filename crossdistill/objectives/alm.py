"""Approximate likelihood matching (Minixhofer et al., 2503.20083, sections 3 and 3.1).

    L = sum_c  f( p_T(c)^(1/tau) || p_S(c)^(1/tau) )  +  f( 1 - p_T(c)^(1/tau) || 1 - p_S(c)^(1/tau) )

p(c) is the probability of chunk c after the tokens before it: the product over its tokens. With `debias` it is
multiplied by the probability that no more letters of the same word follow (outcome chunk debiasing),

    p(c) := p(c) * sum_{e: a boundary} p(e | ... c),

and chunks after which the teacher gives such a boundary no more than `threshold` are merged with the next one.
f is KL(T || S) in the paper. Value at student == teacher: 0. Signal: SAMPLED; with `debias` DENSE, since the mass of
the boundary tokens is needed. No chunks: 0 with zero gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossdistill.credit import chunk_sums
from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.shared.divergence import FLOOR_NATS, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import Share, log_mass, tiled_sum
from crossdistill.signal import Signal
from crossdistill.tokens import ByteVocab

BOUNDARY_BYTES = b" \n\t"
"""Bytes with which no token goes on inside a word: the white space of the paper (section 3.1)."""
CERTAIN_NATS = 1e-6
"""A chunk that is more certain than this counts as if it were this certain: log(1 - p) has no value at p = 1."""


@dataclass(frozen=True)
class ALM(Objective):
    """Binarised f-divergence of chunk probabilities; the defaults are the paper's (appendix B).

    divergence: ``forward`` is KL(T || S), ``reverse`` is KL(S || T), ``tvd`` is |p - q| for both outcomes.
    tau: probabilities are raised to 1/tau; the larger, the more an improbable or long chunk counts.
    debias: multiply by the probability of a boundary after the chunk; needs the teacher's whole distribution.
    threshold: with `debias`, a chunk ends only where the teacher's probability of a boundary is larger.
    """

    name: ClassVar[str] = "alm"

    divergence: str = "forward"
    tau: float = 100.0
    debias: bool = True
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.divergence not in _BINARY:
            raise InputError(f"there is no divergence {self.divergence!r}; choose one of {', '.join(_BINARY)}.")
        check_positive(tau=self.tau)
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold is a probability and must lie in [0, 1), not {self.threshold}.")

    @property
    def signal(self) -> Signal:
        return Signal.DENSE if self.debias else Signal.SAMPLED

    def check(self, pair: VocabPair) -> None:
        """Raises InputError where a side has no token of which a boundary could be told."""
        if not self.debias:
            return
        for side, vocab, stops in (
            ("student", pair.student, pair.student_stops),
            ("teacher", pair.teacher, pair.teacher_stops),
        ):
            if not is_boundary(vocab, stops).any():
                raise InputError(
                    f"objective 'alm' cannot debias: no token of the {side} begins with white space or ends a text; "
                    "set debias = false."
                )

    def weight(self, batch: AlignedBatch) -> float:
        """Its chunks after merging. With `debias` and a threshold that takes the teacher's head once more."""
        return float(len(self._borders(batch)) - 1)

    def loss(self, inputs: LossInputs) -> LossSum:
        """Sum over chunks. Those that end a response have no token after them and are compared as they are."""
        batch, (hidden, head) = inputs.batch, inputs.student
        student = inputs.student_logprobs()
        token_offsets = self._borders(batch)
        splits = batch.student_splits[token_offsets]
        student_sums = chunk_sums(student, splits)
        teacher_sums = chunk_sums(batch.teacher.logprobs.to(student), batch.teacher_splits[token_offsets])
        stats = {
            "abs_log_ratio": (teacher_sums - student_sums).detach().abs().sum(),
            "chunk_tokens": splits[-1].to(student),
        }
        if not self.debias:
            return LossSum(self.between(student_sums, teacher_sums).sum(), stats)
        followed = torch.as_tensor(~_ends_response(batch)[token_offsets[1:].cpu() - 1], device=student.device)
        plain = self.between(student_sums[~followed], teacher_sums[~followed]).sum()
        after = self._teacher_boundary(batch, token_offsets[1:][followed] - 1).to(student)
        mask = is_boundary(batch.pair.student, batch.pair.student_stops).to(hidden.device)

        def share(logits: Tensor, log_p: Tensor, log_q: Tensor, _numbers: Tensor) -> Share:
            boundary = logits.masked_fill(~mask, -torch.inf).logsumexp(-1) - logits.logsumexp(-1)
            return Share(self.between(log_p + boundary, log_q), {"student_boundary": boundary.exp()})

        rows = student_sums[followed], teacher_sums[followed] + after
        debiased = tiled_sum(share, hidden[splits[1:][followed]], head, rows=rows)
        return LossSum(plain + debiased.total, stats | debiased.stats)

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of two chunk log-probabilities in nats, [C] each; differentiable in both. At least 0."""
        return _BINARY[self.divergence](_Event.of(teacher, self.tau), _Event.of(student, self.tau))

    def _borders(self, batch: AlignedBatch) -> Tensor:
        """Where the merged chunks begin and end among the minimal ones: int64 [chunks + 1]."""
        ends = _ends_response(batch)
        if not self.debias or self.threshold == 0:
            ends[:] = True
        inner = torch.as_tensor(np.flatnonzero(~ends), device=batch.device)
        if len(inner):
            boundary = self._teacher_boundary(batch, inner).exp() > self.threshold
            ends[inner.cpu()] = boundary.cpu().numpy()
        return torch.as_tensor(np.append(0, np.flatnonzero(ends) + 1), device=batch.device)

    @staticmethod
    def _teacher_boundary(batch: AlignedBatch, chunks: Tensor) -> Tensor:
        """Log-probability of a boundary after these chunks, none the last of its response, nats."""
        hidden, head = batch.teacher.dense
        mask = is_boundary(batch.pair.teacher, batch.pair.teacher_stops)
        ids = mask.nonzero()[:, 0]
        rows = hidden[batch.teacher_splits[chunks + 1].to(hidden.device)]
        return log_mass(rows.to(head.weight.device), head, ids.to(head.weight.device)).to(batch.device)


@lru_cache(maxsize=8)
def is_boundary(vocab: ByteVocab, stops: tuple[int, ...]) -> Tensor:
    """The tokens that do not go on with a word: white space first, or no bytes at all. bool [size of `vocab`]."""
    found = torch.tensor([not piece or piece[0] in BOUNDARY_BYTES for piece in vocab.pieces], dtype=torch.bool)
    found[list(stops)] = True
    return found


def _ends_response(batch: AlignedBatch) -> np.ndarray:
    """Whether a chunk is the last of its response, bool [C]."""
    ends = np.zeros(batch.alignment.num_chunks, dtype=bool)
    ends[batch.response_splits[1:][np.diff(batch.response_splits) > 0] - 1] = True
    return ends


class _Event(NamedTuple):
    """An event of probability p: log p and log (1 - p), both finite."""

    yes: Tensor
    no: Tensor

    @classmethod
    def of(cls, log_p: Tensor, tau: float) -> "_Event":
        """Of p^(1/tau). Bounded away from p = 1 in value, not in gradient: who is too certain is still told."""
        bounded = log_p + (log_p.clamp(max=-CERTAIN_NATS) - log_p).detach().nan_to_num()
        yes = (bounded / tau).clamp(min=FLOOR_NATS)
        # each form where it is exact; the other branch gets a harmless argument, since where() differentiates both
        near_one = yes > -math.log(2)
        close = torch.where(near_one, yes, -torch.ones_like(yes))
        far = torch.where(near_one, -torch.ones_like(yes), yes)
        return cls(yes, torch.where(near_one, (-torch.expm1(close)).log(), torch.log1p(-far.exp())))


def _binary_kl(p: _Event, q: _Event) -> Tensor:
    return p.yes.exp() * (p.yes - q.yes) + p.no.exp() * (p.no - q.no)


def _binary_tvd(p: _Event, q: _Event) -> Tensor:
    return 2 * (torch.expm1(p.yes) - torch.expm1(q.yes)).abs()


_BINARY: dict[str, Callable[[_Event, _Event], Tensor]] = {
    "forward": _binary_kl,
    "reverse": lambda teacher, student: _binary_kl(student, teacher),
    "tvd": _binary_tvd,
}
"""(teacher's event, student's event) -> nats, or twice the total variation distance; [C]."""
