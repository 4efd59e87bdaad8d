"""The tokens that are compared at each position, as tables with which a few logits are looked up.

Shapes: G positions (groups of tokens that are compared as one), each with at most K mapped tokens and E further ids of
tokens that have several; M student rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.divergence import FLOOR_NATS
from crossdistill.objectives.shared.dynamic_mapping.dtw import TokenGroup
from crossdistill.objectives.shared.dynamic_mapping.vocab_map import MappedEntries, TopTokens, VocabMap
from crossdistill.objectives.shared.vocab_pair import Groups
from crossdistill.ops import HiddenStates
from crossdistill.ops.chosen import chosen_logits


@dataclass(frozen=True)
class MappedPositions:
    """The positions at which two student tokens or more are mapped.

    Attributes:
        members: int64 [M], the student's rows.
        owners: int64 [M], the position to which each row belongs.
        sizes: int64 [G], the number of rows of each position.
        ids: int64 [G, K + E], an id of each mapped token, then the further ids.
        further: int64 [G, E], the columns of the tokens to which the further ids belong.
        mask: bool [G, K + E], whether `ids` holds an id there.
        teacher: nats, [G, K]; meaningless where `mask` is not set.
        groups: int64 [G], the index of each position among all groups.
    """

    members: Tensor
    owners: Tensor
    sizes: Tensor
    ids: Tensor
    further: Tensor
    mask: Tensor
    teacher: Tensor
    groups: Tensor

    @classmethod
    def of(
        cls, groups: Sequence[TokenGroup], entries: MappedEntries, ids: Groups, device: torch.device
    ) -> "MappedPositions":
        """The tables of some groups.

        Args:
            groups: all groups.
            entries: the mapped names of all groups.
            ids: the token ids of each of the student's names.
            device: where the tables go.
        """
        counts = np.bincount(entries.rows, minlength=len(groups))
        kept = np.flatnonzero(counts >= 2)  # over one token alone both sides are certain
        of_entry = counts[entries.rows] >= 2
        rows = np.repeat(np.arange(len(kept)), counts[kept])
        columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts[kept]) - counts[kept], counts[kept])
        num_columns = int(counts[kept].max(initial=0))
        names = torch.zeros(len(kept), num_columns, dtype=torch.long)
        mask = torch.zeros(len(kept), num_columns, dtype=torch.bool)
        teacher = torch.zeros(len(kept), num_columns, dtype=torch.float64)
        at = torch.from_numpy(rows), torch.from_numpy(columns)
        names[at], mask[at] = torch.from_numpy(entries.names[of_entry]), True
        teacher[at] = torch.from_numpy(entries.logprobs[of_entry])
        extra, further, extra_mask = _further_ids(names, mask, ids)
        chosen = [groups[k].student for k in kept.tolist()]
        sizes = torch.tensor([len(rows) for rows in chosen], dtype=torch.long)
        parts = (
            torch.tensor([row for rows in chosen for row in rows], dtype=torch.long),
            torch.repeat_interleave(torch.arange(len(kept)), sizes),
            sizes,
            torch.cat([ids.first[names], extra], 1),
            further,
            torch.cat([mask, extra_mask], 1),
            teacher,
            torch.from_numpy(kept),
        )
        return cls(*(part.to(device) for part in parts))

    def student_scores(self, states: HiddenStates) -> Tensor:
        """The student's scores of the mapped tokens, up to a constant a position.

        A score is the mean of an id's logits over a position's rows; the ids of one token are added up.

        Returns:
            [G, K], differentiable; -inf where there is no token.
        """
        rows = chosen_logits(states.hidden[self.members], states.head, self.ids[self.owners])
        sums = rows.new_zeros(self.ids.shape).index_add(0, self.owners, rows)
        means = (sums / self.sizes[:, None]).masked_fill(~self.mask, -torch.inf)
        scores, extra = means.split([self.teacher.shape[1], self.further.shape[1]], 1)
        for column, values in zip(self.further.T[:, :, None], extra.T[:, :, None], strict=True):
            scores = scores.scatter(1, column, torch.logaddexp(scores.gather(1, column), values))
        return scores


def _further_ids(names: Tensor, mask: Tensor, ids: Groups) -> tuple[Tensor, Tensor, Tensor]:
    """All ids but the first of names [G, K] with several: ids, the columns of their names, and a mask, [G, E] each."""
    several = torch.zeros(len(ids.first), dtype=torch.bool).index_fill(0, ids.several, True)
    number = torch.zeros(len(ids.first), dtype=torch.long)
    number[ids.several] = torch.arange(len(ids.several))
    rows, columns = (several[names] & mask).nonzero(as_tuple=True)
    which = number[names[rows, columns]]
    found, slots = ids.mask[which, 1:].nonzero(as_tuple=True)
    rows, columns, values = rows[found], columns[found], ids.ids[which[found], slots + 1]
    counts = torch.bincount(rows, minlength=len(names))
    indices = torch.arange(len(rows)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    shape = len(names), int(counts.max()) if len(rows) else 0
    out, owners = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    filled = torch.zeros(shape, dtype=torch.bool)
    out[rows, indices], owners[rows, indices], filled[rows, indices] = values, columns, True
    return out, owners, filled


def mean_top_tokens(tops: TopTokens, members: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]) -> TopTokens:
    """The top k of the weighted mean of the log-probabilities at several positions, for each of G sets of positions.

    A token that is not among the top k of a position counts there with the smallest of them, the most that it can have.
    """
    first = np.fromiter((rows[0] for rows in members), np.int64, len(members))
    ids, logprobs = tops.ids[first], np.maximum(tops.logprobs[first], FLOOR_NATS)
    for number, (rows, shares) in enumerate(zip(members, weights, strict=True)):
        if len(rows) == 1:
            continue
        kept = np.maximum(tops.logprobs[list(rows)], FLOOR_NATS)
        tokens, inverse = np.unique(tops.ids[list(rows)], return_inverse=True)
        table = np.repeat(kept[:, -1:], len(tokens), axis=1)
        np.put_along_axis(table, inverse.reshape(kept.shape), kept, axis=1)
        means = np.asarray(shares) @ table
        order = np.argsort(-means, kind="stable")[: ids.shape[1]]
        ids[number], logprobs[number] = tokens[order], means[order]
    return TopTokens(ids, logprobs)


def map_groups(
    vocab_map: VocabMap, groups: Sequence[TokenGroup], student: TopTokens, teacher: TopTokens, max_distance: float
) -> MappedEntries:
    """Map the teacher's top k at each group to the student's tokens."""
    equal = [[1 / len(group.student)] * len(group.student) for group in groups]
    ours = mean_top_tokens(student, [group.student for group in groups], equal)
    theirs = mean_top_tokens(teacher, [group.teacher for group in groups], [group.teacher_weights for group in groups])
    return vocab_map(ours.ids, theirs, max_distance)
