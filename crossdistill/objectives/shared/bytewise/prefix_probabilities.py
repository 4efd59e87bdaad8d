"""The teacher's probability that its next token begins with given bytes.

Shapes: N_T teacher tokens, Q queries, V_T vocabulary, k most probable tokens.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, to_tensor
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.ops.logprobs import TILE_ELEMENTS

IMPOSSIBLE_NATS = -1e6
"""Replaces a log-probability of -inf in sums over tokens, of which differences are taken."""
_TERM_ELEMENTS = 16  # memory of one term of a sum, in logits


class Ordered(Protocol):
    """A vocabulary in an order in which ranges are asked for, such as :class:`BytePrefixes`.

    Attributes:
        order: int64 [M], token ids.
    """

    order: np.ndarray


@dataclass(frozen=True)
class PrefixQueries:
    """Q queries: the total probability, in one row of a model, of the tokens in a range of ``Ordered.order``.

    Attributes:
        rows: int64 [Q], the model's rows.
        ranges: int64 [Q, 2], the first position of each range and the one after its last.
    """

    rows: np.ndarray
    ranges: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, prefixes: list[bytes], tables: BytePrefixes) -> "PrefixQueries":
        """Queries for the tokens that begin with each prefix."""
        known = {prefix: tables.within(prefix) for prefix in set(prefixes)}
        ranges = np.array([known[prefix] for prefix in prefixes], dtype=np.int64).reshape(-1, 2)
        return cls(rows.astype(np.int64), ranges)


@torch.no_grad()
def dense_prefix_logprobs(
    queries: PrefixQueries,
    tables: Ordered,
    states: HiddenStates,
    temperature: float = 1.0,
    tile_elements: int = TILE_ELEMENTS,
) -> Tensor:
    """The log of each range's total probability, exact: nats, [Q]. Each row in use is computed once."""
    head, device = states.head, states.head.weight.device
    order = to_tensor(tables.order, device)
    used, which = np.unique(queries.rows, return_inverse=True)
    sizes = queries.ranges[:, 1] - queries.ranges[:, 0]
    dtype = torch.promote_types(head.weight.dtype, torch.float32)
    logprobs = torch.empty(len(which), dtype=dtype, device=device)
    by_row = np.argsort(which, kind="stable")
    splits = np.searchsorted(which[by_row], np.arange(len(used) + 1))
    step = max(1, tile_elements // head.vocab_size)
    for start in range(0, len(used), step):
        rows = to_tensor(used[start : start + step], states.hidden.device)
        logits = head.logits(states.hidden[rows].to(device)).div_(temperature)
        logits -= logits.logsumexp(-1, keepdim=True)
        in_tile = by_row[splits[start] : splits[min(start + step, len(used))]]
        for block in _blocks(in_tile, sizes, tile_elements // _TERM_ELEMENTS):
            low = to_tensor(queries.ranges[block, 0], device)
            segments, terms = segment_indices(to_tensor(sizes[block], device))
            values = logits[to_tensor(which[block] - start, device)[segments], order[low[segments] + terms]]
            logprobs[to_tensor(block, device)] = segment_logsumexp(values, segments, len(block))
    return logprobs


def topk_prefix_logprobs(
    queries: PrefixQueries, tables: BytePrefixes, topk: TopLogprobs, realised: Tensor, logprobs: Tensor
) -> Tensor:
    """A lower bound of the same, [Q]: from the k most probable tokens and the realised one, which lies in the range.

    Args:
        queries: the queries.
        tables: the tables of the pair.
        topk: the teacher's k most probable tokens at all its rows.
        realised: int64 [Q], the realised token of each query's row.
        logprobs: its log-probability, nats, [Q].
    """
    device = topk.ids.device
    rows, ranges = to_tensor(queries.rows, device), to_tensor(queries.ranges, device)
    ids = topk.ids[rows]
    ranks = to_tensor(tables.rank, device)[ids]
    inside = (ranks >= ranges[:, :1]) & (ranks < ranges[:, 1:])
    known = topk.logprobs[rows].masked_fill(~inside, -torch.inf)
    missing = (ids != realised[:, None]).all(-1)
    own = logprobs.to(known.dtype).masked_fill(~missing, -torch.inf)
    return torch.cat([known, own[:, None]], dim=-1).logsumexp(-1)


def segment_indices(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """For consecutive segments of these sizes: the segment of each element, and its index in the segment."""
    segments = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    before = sizes.cumsum(0) - sizes
    return segments, torch.arange(len(segments), device=sizes.device) - before[segments]


def _blocks(queries: np.ndarray, sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Runs of queries that have about `limit` terms together; each has at least one query."""
    groups = np.cumsum(sizes[queries]) // max(1, limit)
    return np.split(queries, np.flatnonzero(np.diff(groups)) + 1) if len(queries) else []


def segment_logsumexp(values: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """Log of the sum of the exponentials of each segment: [num_segments]; -inf for an empty one. Differentiable."""
    largest = values.new_full((num_segments,), -torch.inf).scatter_reduce(0, segments, values.detach(), "amax")
    is_empty = largest == -torch.inf
    shift = largest.masked_fill(is_empty, 0.0)
    sums = torch.zeros_like(shift).index_add(0, segments, (values - shift[segments]).exp())
    return sums.masked_fill(is_empty, 1.0).log().masked_fill(is_empty, -torch.inf) + shift
