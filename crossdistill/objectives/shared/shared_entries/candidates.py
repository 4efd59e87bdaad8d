"""The divergence over the candidates that both vocabularies have, with or without a unit of several tokens.

Shapes: C positions, K shared candidates, E further ids of candidates that have several on a side, R rows of a tile, H
hidden size. Only the K + E columns of each head are multiplied: distributions renormalised over the candidates do not
depend on the other columns.

With a_S and a_T the share of the shared candidates on each side, and 1 - a that of the unit,

    KL(S || T) = a_S [KL over the shared candidates alone + log a_S / a_T] + (1 - a_S) log (1 - a_S) / (1 - a_T)

so that a unit costs a few numbers a row, and no column.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from crossdistill.objectives.base import Objective, PairMeasure
from crossdistill.objectives.shared.divergence import FLOOR_NATS, Divergence, check_positive
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import HiddenStates, LMHead, Share, tiled_sum
from crossdistill.ops.pieces import TILE_ELEMENTS
from crossdistill.ops.tiled import TiledSum
from crossdistill.signal import Signal

_TILE_ELEMENTS_ELSEWHERE = 4 * TILE_ELEMENTS
"""Each tile copies the columns of the heads anew, which weighs more where products are fast."""


@dataclass(frozen=True)
class SharedCandidates(Objective):
    """The options that methods over shared candidates have in common.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        temperature: divides the logits of both sides.
    """

    name: ClassVar[str]

    divergence: str = "reverse"
    mix: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        Divergence(self.divergence, self.mix)
        check_positive(temperature=self.temperature)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    @property
    def distance(self) -> Divergence:
        """The divergence of the options."""
        return Divergence(self.divergence, self.mix)

    def describe(self, measure: PairMeasure) -> str:
        return f"compares the shared entries, at the starts of {measure.num_chunks:,} chunks"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if the vocabularies share no entry."""
        pair.check_shared(self.name)


class UnitLogits(NamedTuple):
    """Scores of units as logits at C positions, divided by the temperature; -inf at a position without a unit.

    Attributes:
        student: [C], differentiable.
        teacher: [C], constant.
    """

    student: Tensor
    teacher: Tensor


@dataclass(frozen=True)
class SharedHead:
    """One side's head, cut down to the candidates: K columns of one id each, then E further ids of the same candidates.

    Attributes:
        head: of the K + E ids.
        num_candidates: K.
        several: int64 [M], the candidates that have more than one id.
        members: int64 [M, W], the columns of their ids.
        mask: bool [M, W], whether `members` holds a column there.
    """

    head: LMHead
    num_candidates: int
    several: Tensor
    members: Tensor
    mask: Tensor

    @classmethod
    def of(cls, head: LMHead, groups: Groups) -> "SharedHead":
        """These columns of a head, on its device; nothing is copied."""
        groups = groups.to(head.weight.device)
        further = groups.mask.clone()
        further[:, :1] = False
        ids = torch.cat([groups.first, groups.ids[further]])
        members = torch.zeros_like(groups.ids)
        members[:, :1] = groups.several[:, None]
        members[further] = torch.arange(len(groups.first), len(ids), device=ids.device)
        return cls(head.of_ids(ids), len(groups.first), groups.several, members, groups.mask)

    def to(self, device: torch.device) -> "SharedHead":
        """A copy with its tables on a device; the head stays where it is."""
        tables = (self.several, self.members, self.mask)
        return SharedHead(self.head, self.num_candidates, *(table.to(device) for table in tables))

    def merged(self, log_probs: Tensor) -> Tensor:
        """Log of the total probability of each candidate with several ids: [R, K + E] -> [R, M]. Differentiable."""
        parts = log_probs[:, self.members.flatten()].unflatten(1, self.members.shape)
        return parts.masked_fill(~self.mask, -torch.inf).logsumexp(-1)

    def candidates(self, log_probs: Tensor) -> Tensor:
        """Log of the total probability of each candidate: [R, K + E] -> [R, K], also for logits. Differentiable."""
        chosen = log_probs[:, : self.num_candidates]
        return chosen.index_copy(1, self.several, self.merged(log_probs)) if len(self.several) else chosen


RowLoss = Callable[..., Tensor]
"""(student logits [R, K + E], teacher logits [R, K + E'], and both unit logits [R] if there are units) -> nats [R],
differentiable in the student's."""


def shared_divergence(
    pair: VocabPair,
    student: HiddenStates,
    teacher: HiddenStates,
    divergence: Divergence,
    temperature: float = 1.0,
    units: UnitLogits | None = None,
) -> TiledSum:
    """The sum over C positions of the divergence over the shared candidates and, at some positions, a unit.

    Args:
        pair: both vocabularies.
        student: the student's states, [C, H_S].
        teacher: the teacher's states at the same positions, [C, H_T].
        divergence: the divergence.
        temperature: divides the logits of both.
        units: the scores of the units; None if there are none.
    """
    make = reverse_by_hand if divergence.name == "reverse" else by_autograd
    return tiled_rows(lambda *shared: make(divergence, *shared), pair, student, teacher, temperature, units)


def tiled_rows(
    make: Callable[["SharedHead", "SharedHead"], RowLoss],
    pair: VocabPair,
    student: HiddenStates,
    teacher: HiddenStates,
    temperature: float,
    units: UnitLogits | None = None,
) -> TiledSum:
    """The sum over C positions of the row loss that `make` builds from both cut heads; see :func:`shared_divergence`.

    The row loss gets logits divided by the temperature.
    """
    columns = pair.shared(student.hidden.device)
    ours = SharedHead.of(student.head, columns.student)
    theirs = SharedHead.of(teacher.head, columns.teacher).to(student.hidden.device)
    row_loss = make(ours, theirs)

    def share(student_logits: Tensor, teacher_logits: Tensor, *rest: Tensor) -> Share:
        if temperature != 1:
            student_logits, teacher_logits = student_logits / temperature, teacher_logits / temperature
        return Share(row_loss(student_logits, teacher_logits, *rest[:-1]))

    tile = TILE_ELEMENTS if student.hidden.device.type == "cpu" else _TILE_ELEMENTS_ELSEWHERE
    states = student.hidden, ours.head, teacher.hidden, theirs.head
    return tiled_sum(share, *states, units or (), tile_elements=tile)


def by_autograd(divergence: Divergence, ours: SharedHead, theirs: SharedHead) -> RowLoss:
    """Any divergence over all candidates; a unit is one more column."""

    def row_loss(student_logits: Tensor, teacher_logits: Tensor, *units: Tensor) -> Tensor:
        sides: list[Tensor] = []
        for side, logits in ((ours, student_logits), (theirs, teacher_logits)):
            log_probs = side.candidates(normalised(logits))
            if units:
                normaliser = log_normaliser(logits)
                unit = units[len(sides)][:, None]
                shares = logsigmoid(normaliser - unit), logsigmoid(unit - normaliser)
                log_probs = torch.cat([log_probs + shares[0], shares[1]], -1)
            sides.append(log_probs)
        return divergence(*sides)

    return row_loss


def reverse_by_hand(_: Divergence, ours: SharedHead, theirs: SharedHead) -> RowLoss:
    """KL(S || T) with its gradient p (log p - log q - KL) written out: half as many passes over a tile."""

    def row_loss(student_logits: Tensor, teacher_logits: Tensor, *units: Tensor) -> Tensor:
        log_q, normaliser = _log_softmax(teacher_logits)
        if len(theirs.several):
            log_q[:, theirs.several] = theirs.merged(log_q)
        floor = torch.full_like(normaliser, FLOOR_NATS)
        if units:
            teacher = _shares(normaliser, units[1])
            floor = floor - teacher[0]  # of the candidates' own log q, next to the unit
        floor = torch.where(normaliser.isnan(), normaliser, floor)
        torch.fmax(log_q, floor[:, None], out=log_q)  # in a row of -inf alone log q is NaN: it gets the floor too
        divergence, normaliser = _ReverseKL.apply(student_logits, log_q, ours)
        if not units:
            return divergence
        student = _shares(normaliser, units[0])
        log_ratios = student[0] - teacher[0] + divergence, student[1] - teacher[1]
        return student[0].exp() * log_ratios[0] + student[1].exp() * log_ratios[1]

    return row_loss


def _shares(normaliser: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Log of a and of 1 - a (see the module): nats, [R]."""
    candidates, unit = logsigmoid(normaliser - unit), logsigmoid(unit - normaliser)
    return candidates.clamp(min=FLOOR_NATS), unit.clamp(min=FLOOR_NATS)


def normalised(logits: Tensor) -> Tensor:
    """Log-probabilities of logits, [R, N]; a row of -inf alone stays -inf and is not NaN. Differentiable."""
    return logits - log_normaliser(logits)


def log_normaliser(logits: Tensor) -> Tensor:
    """Log of the sum of the exponentials: [R, N] -> [R, 1], never -inf. Differentiable."""
    return logits.logsumexp(-1, keepdim=True).clamp(min=lowest(logits))


def lowest(values: Tensor) -> float:
    """A number to use in place of -inf, which would give NaN: it is still finite after a subtraction."""
    return torch.finfo(values.dtype).min / 2


def _log_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """A new [R, N], NaN in a row of -inf alone, and the log-normaliser [R], which is never -inf."""
    log_probs = torch.log_softmax(logits, -1)
    top = logits.amax(-1)
    normaliser = torch.where(top.isneginf(), lowest(logits), top - log_probs.amax(-1))
    return log_probs, normaliser


class _ReverseKL(torch.autograd.Function):
    """KL(S || T) over the candidates, and the student's log-normaliser: [R] each, of the student's logits [R, K + E].

    Overwrites the teacher's log-probabilities [R, K + E'].
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, log_q: Tensor, ours: SharedHead) -> tuple[Tensor, Tensor]:
        num_candidates = ours.num_candidates
        log_p, normaliser = _log_softmax(logits)
        ratio = log_q[:, :num_candidates]
        torch.sub(log_p[:, :num_candidates], ratio, out=ratio)
        if len(ours.several):
            ratio[:, ours.several] += ours.merged(log_p) - log_p[:, ours.several]
        further = ratio[:, _owner_of_further(ours)]
        probs = log_p.exp_()
        divergence = torch.linalg.vecdot(probs[:, :num_candidates], ratio)
        divergence += (probs[:, num_candidates:] * further).sum(-1)
        ctx.save_for_backward(probs, ratio, further, divergence)
        return divergence, normaliser

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_normaliser: Tensor) -> tuple[Tensor | None, ...]:
        probs, ratio, further, divergence = ctx.saved_tensors
        num_candidates = ratio.shape[1]
        constant = (grad_normaliser - grad * divergence)[:, None]
        grad_logits = torch.empty_like(probs)
        for part, values in ((slice(num_candidates), ratio), (slice(num_candidates, None), further)):
            torch.addcmul(constant, values, grad[:, None], out=grad_logits[:, part])
        return grad_logits.mul_(probs), None, None


def _owner_of_further(side: SharedHead) -> Tensor:
    """The candidate that each further id belongs to, int64 [E]."""
    return side.several[:, None].expand_as(side.mask)[:, 1:][side.mask[:, 1:]]
