"""Whether the student completes a teacher token over several tokens, along the path of those that it sampled.

    P(t) = M_1 + p_1 (M_2 + p_2 (M_3 + ...))

With s the student token that began t: M_1 is the probability that the next token begins with the rest of t; p_1 that of
the token that was sampled there, if the rest of t goes on with it; M_2 the probability that the one after it begins
with what is then left of t, and so on. A lower bound: tokens that were not sampled have states only if they complete t.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import to_tensor
from crossdistill.objectives.shared.bytewise.comparison import tempered
from crossdistill.objectives.shared.bytewise.completion import Begun, ends_of_stretches
from crossdistill.objectives.shared.bytewise.prefix_probabilities import (
    PrefixQueries,
    dense_prefix_logprobs,
    segment_logsumexp,
)
from crossdistill.objectives.shared.bytewise.range_masses import RangeMasses
from crossdistill.objectives.shared.bytewise.unfinished import UnfinishedTokens
from crossdistill.objectives.shared.divergence import FLOOR_NATS
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import Share, tiled_sum
from crossdistill.ops.tiled import TiledSum


class Paths(NamedTuple):
    """W ways to complete E teacher tokens that go on with what the student sampled.

    Attributes:
        numbers: int64 [E], the student token that began each teacher token, by its index in `Begun`.
        places: int64 [E], the teacher token, by its place in ``UnfinishedTokens.order``.
        events: int64 [W], the teacher token that a way completes, by its index among the E.
        rows: int64 [W], the student token at which it does.
        ranges: int64 [W, 2], the completing tokens in the order of ``UnfinishedTokens.student``.
    """

    numbers: np.ndarray
    places: np.ndarray
    events: np.ndarray
    rows: np.ndarray
    ranges: np.ndarray

    @classmethod
    def of(cls, batch: AlignedBatch, begun: Begun, unfinished: UnfinishedTokens) -> "Paths":
        """Those of the part of each T(s) that is in ``begun.elsewhere``."""
        sampled = _Sampled(batch)
        events: list[tuple[int, int]] = []
        ways: list[tuple[int, int, int, int]] = []
        for number, (token, piece) in enumerate(zip((begun.tokens + 1).tolist(), begun.pieces, strict=True)):
            for place in range(*begun.elsewhere[number].tolist()):
                rest = unfinished.pieces[place][len(piece) :]
                found = list(sampled.ways(rest, token, unfinished))
                ways += [(len(events), *way) for way in found]
                events += [(number, place)] * bool(found)
        numbers, places = np.array(events, dtype=np.int64).reshape(-1, 2).T
        table = np.array(ways, dtype=np.int64).reshape(-1, 4)
        return cls(numbers, places, table[:, 0], table[:, 1], table[:, 2:])

    def steps(self, begun: Begun) -> tuple[np.ndarray, np.ndarray]:
        """The sampled tokens on each way: the index of the way, and that of the token among the sampled ones."""
        rows, of_way = self._before(begun)
        return of_way, np.searchsorted(np.unique(rows), rows)

    def queries(self, batch: AlignedBatch, begun: Begun, unfinished: UnfinishedTokens) -> PrefixQueries:
        """The W ranges of completing tokens, and then the sampled tokens on the ways, in ascending order."""
        rows = np.unique(self._before(begun)[0])
        ranks = unfinished.student.rank[batch.student.ids.cpu().numpy()[rows]]
        singles = np.stack([ranks, ranks + 1], -1)
        return PrefixQueries(np.concatenate([self.rows, rows]), np.concatenate([self.ranges, singles]))

    def _before(self, begun: Begun) -> tuple[np.ndarray, np.ndarray]:
        """The tokens sampled after s and before the end of each way, and the index of the way."""
        first = begun.tokens[self.numbers[self.events]] + 1
        sizes = self.rows - first
        of_way = np.repeat(np.arange(len(sizes)), sizes)
        return first[of_way] + np.arange(len(of_way)) - np.repeat(np.cumsum(sizes) - sizes, sizes), of_way


class _Sampled:
    """The bytes of each student token, and the end of the stretch that it is in."""

    def __init__(self, batch: AlignedBatch):
        self.pieces = [batch.pair.student.pieces[token_id] for token_id in batch.student.ids.tolist()]
        self.ends = ends_of_stretches(batch).tolist()

    def ways(self, rest: bytes, token: int, unfinished: UnfinishedTokens) -> Iterator[tuple[int, int, int]]:
        """Where on the path a token may begin with all that is left of `rest`, and the range of these tokens."""
        end = self.ends[token]
        while rest and token < end:
            low, high = unfinished.student.within(rest)
            if high > low:
                yield token, low, high
            piece = self.pieces[token]
            if not piece or not rest.startswith(piece):
                return
            rest, token = rest[len(piece) :], token + 1


def on_path(batch: AlignedBatch, begun: Begun, unfinished: UnfinishedTokens) -> Begun:
    """A copy in which those in T(s) that go on with the sampled successor of s are completed elsewhere."""
    pieces = _Sampled(batch).pieces
    keys = [(piece, pieces[token]) for token, piece in zip((begun.tokens + 1).tolist(), begun.pieces, strict=True)]
    found = {(piece, data): unfinished.continued(piece, data) if data else (0, 0) for piece, data in set(keys)}
    elsewhere = np.array([found[key] for key in keys], dtype=np.int64).reshape(-1, 2)
    return Begun(begun.tokens, begun.rows, begun.pieces, begun.ranges, elsewhere)


def path_loss(
    inputs: LossInputs, begun: Begun, unfinished: UnfinishedTokens, *, normalise: bool, temperature: float
) -> TiledSum:
    """``- sum of w_t log P(t)`` over the teacher tokens of ``begun.elsewhere``; see `completion.next_token_loss`.

    P(t) is a sum of products of probabilities at several positions. With r_k the share of its k-th term,

        - log P(t) = sum over k of r_k log r_k - r_k log (the k-th term)

    and its gradient is that of the right-hand side with r held constant: that of a weighted sum of log-probabilities,
    which needs one tile of logits at a time.
    """
    batch, device = inputs.batch, inputs.batch.device
    paths = Paths.of(batch, begun, unfinished)
    probs, weights = _weights(batch, begun, paths, unfinished, normalise, temperature)
    events, of_way, sampled = (to_tensor(part, device) for part in (paths.events, *paths.steps(begun)))
    queries = paths.queries(batch, begun, unfinished)
    known = dense_prefix_logprobs(queries, unfinished.student, inputs.student, temperature)
    ways, tokens = known.double().clamp(min=FLOOR_NATS).split([len(events), len(known) - len(events)])
    logs = ways.index_add(0, of_way, tokens[sampled])
    shares = (logs - segment_logsumexp(logs, events, len(paths.places))[events]).exp()
    parts = weights[events] * shares
    all_weights = torch.cat([parts, torch.zeros_like(tokens).index_add(0, sampled, parts[of_way])])
    constant = (weights[events] * torch.xlogy(shares, shares)).sum()
    total = _weighted_sum(inputs, queries, all_weights, unfinished, temperature)
    total = total + constant.to(total)
    return TiledSum(total, {"child": total.detach(), "begun": probs.sum().to(total)})


def _weights(
    batch: AlignedBatch, begun: Begun, paths: Paths, unfinished: UnfinishedTokens, normalise: bool, temperature: float
) -> tuple[Tensor, Tensor]:
    """The teacher's probability of each of the E teacher tokens, and its weight: float64 [E]."""
    single = np.stack([paths.places, paths.places + 1], -1)
    rows, ranges = begun.rows[paths.numbers], begun.ranges[paths.numbers]
    queries = PrefixQueries(np.concatenate([rows, rows]), np.concatenate([single, ranges]))
    found = dense_prefix_logprobs(queries, unfinished, batch.teacher.dense, temperature).to(batch.device).double()
    log_probs, totals = found.split([len(rows), len(rows)])
    if not normalise:
        return log_probs.exp(), log_probs.exp()
    return log_probs.exp(), (log_probs - totals).exp().masked_fill(totals == -torch.inf, 0.0)


def _weighted_sum(
    inputs: LossInputs, queries: PrefixQueries, weights: Tensor, unfinished: UnfinishedTokens, temperature: float
) -> Tensor:
    """Minus the weighted sum of the student's log-probabilities of all queries: scalar, differentiable."""
    (hidden, head), device = inputs.student, inputs.batch.device
    by_row = np.argsort(queries.rows, kind="stable")
    used, counts = np.unique(queries.rows, return_counts=True)
    low, high = queries.ranges[by_row].T
    parts = (unfinished.student.order, np.cumsum(counts) - counts, counts, low, high - low)
    table = RangeMasses(*(to_tensor(part, device) for part in parts))
    ordered = weights[to_tensor(by_row, device)]

    def share(logits: Tensor, numbers: Tensor) -> Share:
        rows, found = table.ranges(numbers)
        log_masses = table.log_masses(tempered(logits, temperature), rows, found).clamp(min=FLOOR_NATS)
        return Share(logits.new_zeros(len(numbers)).index_add(0, rows, -ordered[found].to(log_masses) * log_masses))

    elements = table.tile_elements(head.vocab_size)
    return tiled_sum(share, hidden[to_tensor(used, device)], head, tile_elements=elements).total
