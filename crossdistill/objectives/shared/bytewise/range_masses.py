"""The student's probability of ranges of its vocabulary, several at each position, within a tile."""

from dataclasses import dataclass

import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.prefix_probabilities import segment_indices, segment_logsumexp
from crossdistill.ops.logprobs import TILE_ELEMENTS

_TERM_ELEMENTS = 8  # memory of one term of a sum, in logits


@dataclass(frozen=True)
class RangeMasses:
    """Ranges of a vocabulary's order at N positions; positions may have the same ones.

    Attributes:
        order: int64 [M], token ids.
        offsets: int64 [N], the first range of each position.
        counts: int64 [N], how many it has.
        low: int64 [E], the first place of each range in `order`.
        sizes: int64 [E], the places of each range.
    """

    order: Tensor
    offsets: Tensor
    counts: Tensor
    low: Tensor
    sizes: Tensor

    def ranges(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The ranges at R positions: the index of its position among them, and its own index, int64 [Q] each."""
        rows, terms = segment_indices(self.counts[numbers])
        return rows, self.offsets[numbers][rows] + terms

    def log_masses(self, logits: Tensor, rows: Tensor, ranges: Tensor) -> Tensor:
        """Log of the total probability of some ranges, nats, [Q]; -inf for none. Differentiable.

        Args:
            logits: [R, V].
            rows: int64 [Q], the row of each.
            ranges: int64 [Q], its index.
        """
        return (
            range_logsumexp(logits, rows, self.order, self.low[ranges], self.sizes[ranges]) - logits.logsumexp(-1)[rows]
        )

    def tile_elements(self, width: int) -> int:
        """The number of logits to hold at once if a row has `width` of them."""
        if not len(self.counts) or not len(self.sizes):
            return TILE_ELEMENTS
        before = torch.cat([self.sizes.new_zeros(1), self.sizes.cumsum(0)])
        terms = int((before[self.offsets + self.counts] - before[self.offsets]).max())
        return TILE_ELEMENTS * width // (width + _TERM_ELEMENTS * terms)


def range_logsumexp(logits: Tensor, rows: Tensor, order: Tensor, low: Tensor, sizes: Tensor) -> Tensor:
    """Log of the sum of the exponentials of the logits of a range in a row, [Q]; -inf for an empty one.

    Args:
        logits: [R, V].
        rows: int64 [Q].
        order: int64 [M], token ids.
        low: int64 [Q], the first place of the range in `order`.
        sizes: int64 [Q], its places.
    """
    segments, terms = segment_indices(sizes)
    places = rows[segments] * logits.shape[1] + order[low[segments] + terms]
    return segment_logsumexp(logits.flatten().index_select(0, places), segments, len(sizes))
