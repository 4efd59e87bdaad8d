"""The divergence over some shared candidates and one more entry for everything else, the tail, on both sides.

Shapes: R rows of a tile, V vocabulary of a side, K shared candidates, k chosen ones, W the most ids of a candidate.
Both sides sum to 1 without renormalising. The student's tail is the sum over all of its other tokens, never 1 minus
that of the candidates: it keeps its gradient however small it is, or they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from crossdistill.objectives.shared.divergence import Divergence
from crossdistill.objectives.shared.shared_entries.candidates import lowest
from crossdistill.objectives.shared.vocab_pair import Columns, Groups
from crossdistill.ops import HiddenStates, Share, TopLogprobs, tiled_sum
from crossdistill.ops.tiled import TiledSum

SMALLEST_TAIL = 2.0**-23
"""The teacher's tail, if all that is known of it is 1 minus the candidates' probability: less is their rounding."""


class Entries(NamedTuple):
    """A side's distribution over the candidates and the tail.

    Attributes:
        chosen: nats, [R, k].
        tail: nats, [R].
    """

    chosen: Tensor
    tail: Tensor

    def joined(self) -> Tensor:
        """The tail last, [R, k + 1]."""
        return torch.cat([self.chosen, self.tail[:, None]], -1)


class CandidateIds(NamedTuple):
    """The ids of each candidate on a side.

    Attributes:
        ids: int64 [K, W].
        present: bool [K, W], which entries hold an id.
    """

    ids: Tensor
    present: Tensor

    @classmethod
    def of(cls, groups: Groups) -> "CandidateIds":
        """The ids of all columns."""
        width = max(1, groups.ids.shape[1])
        ids = groups.first[:, None].expand(-1, width).clone()
        present = torch.zeros_like(ids, dtype=torch.bool)
        present[:, 0] = True
        ids[groups.several, : groups.ids.shape[1]] = groups.ids
        present[groups.several, : groups.ids.shape[1]] = groups.mask
        return cls(ids, present)

    def entries(self, log_probs: Tensor, chosen: Tensor, kept: Tensor) -> Entries:
        """Some candidates of each row, and the sum of all else. Differentiable.

        Args:
            log_probs: [R, V].
            chosen: int64 [R, k], the candidates.
            kept: bool [R, k]; the others are left to the tail.
        """
        ids, present = self.ids[chosen], self.present[chosen] & kept[..., None]
        values = log_probs.gather(1, ids.flatten(1)).unflatten(1, ids.shape[1:])
        nowhere = log_probs.shape[1]
        is_chosen = torch.zeros(len(ids), nowhere + 1, dtype=torch.bool, device=ids.device)
        is_chosen.scatter_(1, ids.masked_fill(~present, nowhere).flatten(1), True)
        rest = log_probs.masked_fill(is_chosen[:, :nowhere], lowest(log_probs))
        return Entries(values.masked_fill(~present, lowest(values)).logsumexp(-1), rest.logsumexp(-1))


def all_candidates(log_probs: Tensor, groups: Groups) -> Entries:
    """All candidates of each row, and the sum of what is not shared. Differentiable."""
    is_shared = torch.zeros(log_probs.shape[1], dtype=torch.bool, device=log_probs.device)
    is_shared[groups.first] = True
    is_shared[groups.ids[groups.mask]] = True
    rest = log_probs.masked_fill(is_shared, lowest(log_probs)).logsumexp(-1)
    return Entries(groups.select(log_probs), rest)


def dense_with_tail(
    columns: Columns, student: HiddenStates, teacher: HiddenStates, distance: Divergence, temperature: float, top_k: int
) -> TiledSum:
    """The sum over N positions, at which both sides give their whole distributions.

    Args:
        columns: the candidates.
        student: the student's states.
        teacher: the teacher's states at the same positions.
        distance: the divergence.
        temperature: divides the logits of both.
        top_k: how many candidates, the student's most probable ones; 0 for all.

    Returns:
        Nats; and as stats the probability of both tails.
    """
    ours, theirs = CandidateIds.of(columns.student), CandidateIds.of(columns.teacher)

    def share(student_logits: Tensor, teacher_logits: Tensor, numbers: Tensor) -> Share:
        sides = [torch.log_softmax(logits / temperature, -1) for logits in (student_logits, teacher_logits)]
        if not top_k:
            groups = columns.student, columns.teacher
            return _share(distance, *(all_candidates(*side) for side in zip(sides, groups, strict=True)))
        chosen = most_probable(sides[0], columns.student, top_k)
        kept = torch.ones_like(chosen, dtype=torch.bool)
        tables = zip((ours, theirs), sides, strict=True)
        return _share(distance, *(table.entries(side, chosen, kept) for table, side in tables))

    return tiled_sum(share, *student, *teacher)


def named_with_tail(
    columns: Columns, student: HiddenStates, named: TopLogprobs, distance: Divergence, top_k: int
) -> TiledSum:
    """The sum over N positions, at which the teacher names some candidates.

    A candidate that is chosen and not named is part of the tail on both sides.

    Args:
        columns: the candidates.
        student: the student's states.
        named: the candidates that the teacher names, each once a row, by their columns and log-probabilities; -inf for
            unused entries.
        distance: the divergence.
        top_k: how many candidates the student chooses, its most probable ones; 0 for all that are named.

    Returns:
        Nats; and as stats the probability of both tails.
    """
    ours, num_candidates = CandidateIds.of(columns.student), len(columns)

    def share(student_logits: Tensor, ids: Tensor, logprobs: Tensor, numbers: Tensor) -> Share:
        log_probs = torch.log_softmax(student_logits, -1)
        chosen, theirs = ids, logprobs
        if top_k:
            chosen = most_probable(log_probs, columns.student, top_k)
            nothing = theirs.new_full((len(ids), num_candidates + 1), -torch.inf)
            places = ids.masked_fill(logprobs.isneginf(), num_candidates)
            theirs = nothing.scatter(1, places, logprobs).gather(1, chosen)
        kept = ~theirs.isneginf()
        tail = (1 - theirs.double().exp().sum(-1)).clamp(min=SMALLEST_TAIL).log().to(theirs)
        known = Entries(theirs.masked_fill(~kept, lowest(theirs)), tail)
        return _share(distance, ours.entries(log_probs, chosen, kept), Entries(*(part.to(log_probs) for part in known)))

    return tiled_sum(share, *student, rows=(named.ids, named.logprobs))


def most_probable(log_probs: Tensor, groups: Groups, top_k: int) -> Tensor:
    """The candidates with the largest probability in each row: int64 [R, k], k at most K."""
    candidates = groups.select(log_probs.detach())
    return candidates.topk(min(top_k, candidates.shape[1])).indices


def _share(distance: Divergence, student: Entries, teacher: Entries) -> Share:
    stats = {"tail": student.tail.detach().exp(), "teacher_tail": teacher.tail.exp()}
    return Share(distance(student.joined(), teacher.joined()), stats)
