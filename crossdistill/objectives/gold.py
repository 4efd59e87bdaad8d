"""General online logit distillation (GOLD, Patino et al. 2025; TRL's ULDLoss), on the exact alignment.

A chunk's merged distribution keeps the whole distribution p at one of its positions and multiplies it by the
probabilities of the tokens realised at the others:

    observed   P_c(v) = p(v | before the chunk)                    * prod of the probabilities of tokens 2 .. last
    bayesian   P_c(v) = p(v | all tokens of the chunk but its last) * prod of the probabilities of tokens 1 .. last - 1

The entry of the realised token (the first, the last) is the exact probability of the chunk; the entries sum to the
product, and not to 1. With columns K the entries that both vocabularies have, and U the ids of a side outside them:

    L = sum_c  w_m JSD_beta( T_K || S_K )  +  w_u D( S_U, T_U )          (hybrid, the default)
    L = sum_c  D( S, T )                                                  (plain: hybrid = false)

D is the L1 distance of the sorted entries, as in uld. JSD_beta is that of gkd, over entries that need not sum to 1: KL
is sum t log(t / s) - t + s, which is at least 0 for those too (for 0 < beta < 1 the sums cancel). Weights: w_m =
|K| / |V_T| and w_u = 1 - w_m, or the two given ones. At student == teacher it is 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.gkd import generalised_jsd
from crossdistill.objectives.shared.divergence import FLOOR_NATS, Divergence, check_not_negative, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.rank_distance import rank_distance
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import HiddenStates, LMHead, Share, tiled_sum, token_logprobs
from crossdistill.ops.tiled import TileFunction
from crossdistill.signal import Signal

_MERGES = ("observed", "bayesian")
_WEIGHTINGS = ("overlap", "given")


@dataclass(frozen=True)
class GOLD(Objective):
    """A divergence over the entries that both vocabularies have, and the rank distance of the others.

    Attributes:
        merge: the position of a chunk whose distribution is kept: "observed" (the first) or "bayesian" (the last).
        beta: the teacher's share in the mixture; 0 is the forward divergence, 1 the reverse one.
        hybrid: whether shared entries are compared by name; otherwise every entry is compared by rank.
        weighting: the weights of the two parts: "overlap", or "given" by `matched_weight` and `unmatched_weight`.
        matched_weight: weight of the shared entries.
        unmatched_weight: weight of the others.
        temperature: divides both models' logits.

    Example:
        >>> GOLD(merge="bayesian").signal.value
        'dense'
    """

    name: ClassVar[str] = "gold"

    merge: str = "observed"
    beta: float = 0.5
    hybrid: bool = True
    weighting: str = "overlap"
    matched_weight: float = 1.0
    unmatched_weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for option, value, choices in (("merge", self.merge, _MERGES), ("weighting", self.weighting, _WEIGHTINGS)):
            if value not in choices:
                raise InputError(f"{option} is one of {', '.join(choices)}, not {value!r}.")
        check_positive(temperature=self.temperature)
        check_not_negative(matched_weight=self.matched_weight, unmatched_weight=self.unmatched_weight)
        given = self.matched_weight, self.unmatched_weight
        if not any(given):
            raise InputError("matched_weight and unmatched_weight must not both be 0: nothing would be learnt.")
        if self.weighting == "overlap" and given != (1.0, 1.0):
            raise InputError('matched_weight and unmatched_weight are read only if weighting = "given": set it too.')
        generalised_jsd(self.beta)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    @property
    def _divergence(self) -> Divergence:
        return generalised_jsd(self.beta)

    def describe(self, measure: PairMeasure) -> str:
        entries = "the shared entries by name and the other entries by rank" if self.hybrid else "all entries by rank"
        return f"compares {entries}, in {measure.num_chunks:,} chunks"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if no entry is shared, unless all are compared by rank."""
        if self.hybrid:
            pair.check_shared(self.name)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks. Stats: the two parts before their weights."""
        batch, student = inputs.batch, inputs.student
        teacher = batch.teacher.dense
        ours, our_scale = self._merged(student, batch.student.ids, batch.student_splits)
        with torch.no_grad():
            theirs, their_scale = self._merged(teacher, batch.teacher.ids, batch.teacher_splits)
        function = self._function(batch, student.head, teacher.head)
        total, stats = tiled_sum(function, ours, student.head, theirs, teacher.head, (our_scale, their_scale))
        return LossSum(total, stats)

    def _merged(self, states: HiddenStates, ids: Tensor, splits: Tensor) -> tuple[Tensor, Tensor]:
        """The state [C, H] of each chunk's distribution, and the log-probability [C] of its other tokens."""
        rows = splits[:-1] if self.merge == "observed" else splits[1:] - 1
        is_other = torch.ones_like(ids, dtype=torch.bool).index_fill(0, rows, False)
        chunk_of = torch.repeat_interleave(splits.diff())[is_other]
        hidden, head = states
        others = token_logprobs(hidden[is_other], head, ids[is_other], self.temperature).logprobs
        scale = torch.zeros(len(rows), dtype=others.dtype, device=others.device).index_add(0, chunk_of, others)
        return hidden[rows], scale

    def _function(self, batch: AlignedBatch, student: LMHead, teacher: LMHead) -> TileFunction:
        if not self.hybrid:
            return self._by_rank
        columns = batch.pair.shared(batch.device)
        rests = _rest(columns.student, student.vocab_size), _rest(columns.teacher, teacher.vocab_size)
        overlap = len(columns) / teacher.vocab_size
        weights = (overlap, 1 - overlap)
        if self.weighting == "given":
            weights = (self.matched_weight, self.unmatched_weight)

        def function(
            student: Tensor, teacher: Tensor, our_scale: Tensor, their_scale: Tensor, _numbers: Tensor
        ) -> Share:
            ours, theirs = self._log_softmax(student), self._log_softmax(teacher)
            scales = our_scale[:, None], their_scale[:, None]
            named = columns.student.select(ours) + scales[0], columns.teacher.select(theirs) + scales[1]
            others = ours.index_select(1, rests[0]) + scales[0], theirs.index_select(1, rests[1]) + scales[1]
            matched, unmatched = self._matched(*named), rank_distance(others[0].exp(), others[1].exp())
            loss = weights[0] * matched + weights[1] * unmatched
            return Share(loss, {"matched": matched, "unmatched": unmatched})

        return function

    def _by_rank(
        self, student: Tensor, teacher: Tensor, our_scale: Tensor, their_scale: Tensor, _numbers: Tensor
    ) -> Share:
        ours = (self._log_softmax(student) + our_scale[:, None]).exp()
        return Share(rank_distance(ours, (self._log_softmax(teacher) + their_scale[:, None]).exp()))

    def _log_softmax(self, logits: Tensor) -> Tensor:
        return torch.log_softmax(logits / self.temperature, -1)

    def _matched(self, student: Tensor, teacher: Tensor) -> Tensor:
        """JSD_beta of entries that need not sum to 1."""
        divergence = self._divergence(student, teacher)
        if self._divergence.name == "jsd":
            return divergence
        ours, theirs = (side.clamp(min=FLOOR_NATS).exp().sum(-1) for side in (student, teacher))
        return divergence + (ours - theirs if self._divergence.name == "forward" else theirs - ours)


def _rest(columns: Groups, vocab_size: int) -> Tensor:
    """The ids outside all columns, int64."""
    is_rest = torch.ones(vocab_size, dtype=torch.bool, device=columns.first.device)
    is_rest[columns.first] = False
    is_rest[columns.ids[columns.mask]] = False
    return is_rest.nonzero()[:, 0]
