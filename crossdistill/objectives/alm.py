"""Approximate likelihood matching (Minixhofer et al., 2503.20083, sections 3 and 3.1).

    L = sum_c  f( p_T(c)^(1/tau) || p_S(c)^(1/tau) )  +  f( 1 - p_T(c)^(1/tau) || 1 - p_S(c)^(1/tau) )

p(c) is the probability of chunk c after the tokens before it: the product over its tokens. With `debias` it is
multiplied by the probability that no more letters of the same word follow (outcome chunk debiasing),

    p(c) := p(c) * sum_{e: a boundary} p(e | ... c),

and a chunk after which the teacher's probability of such a boundary is at most `threshold` is merged with the next one.
f is KL(T || S) in the paper. Value at student == teacher: 0. Signal: SAMPLED; with `debias` DENSE, because it needs the
probability of all boundary tokens. No chunks: 0 with zero gradient.
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
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.divergence import FLOOR_NATS, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import log_mass, tiled_values
from crossdistill.signal import Signal
from crossdistill.tokens import ByteVocab

BOUNDARY_BYTES = b" \n\t"
"""The white space of the paper (section 3.1): a token that begins with one of these bytes does not continue a word."""
CERTAIN_NATS = 1e-6
"""Log-probabilities above -CERTAIN_NATS count as this one: log(1 - p) has no value at p = 1."""


@dataclass(frozen=True)
class ALM(Objective):
    """Binarised f-divergence of chunk probabilities; the defaults are the paper's (appendix B).

    Attributes:
        divergence: ``forward`` is KL(T || S), ``reverse`` is KL(S || T), ``tvd`` is |p - q| for both outcomes.
        tau: probabilities are raised to 1/tau; the larger, the more an improbable or long chunk counts.
        debias: multiply by the probability of a boundary after the chunk; needs the teacher's whole distribution.
        threshold: with `debias`, a chunk ends only if the teacher's probability of a boundary is larger.

    Example:
        >>> ALM().signal.value, ALM(debias=False).signal.value
        ('dense', 'sampled')
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

    def describe(self, measure: PairMeasure) -> str:
        found = (
            f"compares one probability a chunk, {100 * measure.coverage:.1f} % of the bytes in "
            f"{measure.num_chunks:,} chunks"
        )
        return f"{found} (debias = false needs the sampled bytes alone)" if self.debias else found

    def check(self, pair: VocabPair) -> None:
        """Check that both vocabularies can show where a word ends.

        Raises:
            InputError: with `debias`, no token of a side begins with white space or ends a text.
        """
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
        """The number of chunks after merging. With `debias` and a threshold, merging reads the teacher's head again."""
        reads_boundaries = self.debias and self.threshold > 0
        return float(len(self._merged_splits(batch, self._teacher_boundaries(batch) if reads_boundaries else None)) - 1)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks. A chunk that ends a response has no token after it and is compared without debiasing.

        Stats: the absolute log-ratios of the chunks, and their student tokens.
        """
        batch = inputs.batch
        after = self._teacher_boundaries(batch) if self.debias else None
        merged = self._merged_splits(batch, after)
        splits = batch.student_splits[merged]
        student, boundaries = (inputs.student_logprobs(), None) if after is None else self._student_logs(inputs)
        student_sums = chunk_sums(student, splits)
        teacher_sums = chunk_sums(batch.teacher.logprobs.to(student), batch.teacher_splits[merged])
        stats = {
            "abs_log_ratio": (teacher_sums - student_sums).detach().abs().sum(),
            "chunk_tokens": splits[-1].to(student),
        }
        if after is not None and boundaries is not None:
            is_last = _ends_response(batch)[merged[1:].cpu().numpy() - 1]
            followed = torch.as_tensor(np.flatnonzero(~is_last), device=student.device)
            ours = boundaries[splits[1:][followed]]
            student_sums = student_sums.index_add(0, followed, ours)
            teacher_sums = teacher_sums + after[merged[1:] - 1].to(student)
            stats["student_boundary"] = ours.detach().exp().sum()
        return LossSum(self.between(student_sums, teacher_sums).sum(), stats)

    def _student_logs(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Log-probability of each token, and of a boundary in its place: nats, [N_S] each, from the same logits."""
        batch, pair, device = inputs.batch, inputs.batch.pair, inputs.student.hidden.device
        mask = is_boundary(pair.student, pair.student_stops).to(device)
        stops = torch.tensor(pair.student_stops, dtype=torch.long, device=device)
        is_stop = torch.zeros_like(batch.student.ids, dtype=torch.bool)
        is_stop[batch.student_splits[:-1][torch.as_tensor(batch.is_stop, device=device)]] = True

        def logs(logits: Tensor, rows: slice) -> Tensor:
            chosen = logits.gather(1, batch.student.ids[rows, None])[:, 0]
            if len(stops):
                chosen = torch.where(is_stop[rows], logits.index_select(1, stops).logsumexp(-1), chosen)
            boundary = logits.masked_fill(~mask, -torch.inf).logsumexp(-1)
            return torch.stack([chosen, boundary], -1) - logits.logsumexp(-1, keepdim=True)

        student, boundaries = tiled_values(logs, *inputs.student).unbind(-1)
        return student, boundaries

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of two chunk log-probabilities in nats, [C] each: [C], at least 0, differentiable in both."""
        return _BINARY[self.divergence](_Event.of(teacher, self.tau), _Event.of(student, self.tau))

    def _merged_splits(self, batch: AlignedBatch, boundaries: Tensor | None) -> Tensor:
        """Merged chunk m is the minimal chunks ``splits[m]:splits[m + 1]``: int64 [merged chunks + 1].

        Args:
            batch: aligned responses.
            boundaries: of the teacher; without them nothing is merged.
        """
        ends = _ends_response(batch)
        if boundaries is None or self.threshold == 0:
            ends[:] = True
        else:
            ends |= (boundaries.exp() > self.threshold).cpu().numpy()
        return torch.as_tensor(np.append(0, np.flatnonzero(ends) + 1), device=batch.device)

    @staticmethod
    def _teacher_boundaries(batch: AlignedBatch) -> Tensor:
        """Log-probability of a boundary after each chunk: nats, [C]; 0 after the last of a response."""
        hidden, head = batch.teacher.dense
        device = head.weight.device
        ids = is_boundary(batch.pair.teacher, batch.pair.teacher_stops).nonzero()[:, 0].to(device)
        inner = torch.as_tensor(np.flatnonzero(~_ends_response(batch)), device=batch.device)
        rows = batch.teacher_splits[inner + 1].to(hidden.device)
        masses = log_mass(hidden[rows].to(device), head, ids).to(batch.device)
        return masses.new_zeros(batch.alignment.num_chunks).index_copy(0, inner, masses)


@lru_cache(maxsize=8)
def is_boundary(vocab: ByteVocab, stops: tuple[int, ...]) -> Tensor:
    """Whether a token does not continue a word: it begins with white space or has no bytes. bool [vocabulary]."""
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
        """The event of probability p^(1/tau).

        The value is clamped below p = 1 (straight-through): an overconfident chunk still gets a gradient.
        """
        bounded = log_p + (log_p.clamp(max=-CERTAIN_NATS) - log_p).detach().nan_to_num()
        yes = (bounded / tau).clamp(min=FLOOR_NATS)
        # each form in its exact range; the other branch gets a harmless argument, since where() differentiates both
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
"""(teacher's event, student's event) -> divergence in nats, or twice the total variation distance: [C]."""
