"""How probable a teacher finds it that its next token begins with given bytes.

Shapes: N_T teacher tokens, Q questions, V_T vocabulary, k most probable tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, on
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.ops.logprobs import TILE_ELEMENTS

IMPOSSIBLE_NATS = -1e6
"""Stands for a log-probability of -inf in sums over tokens, of which differences are taken."""
_TERM_ELEMENTS = 16  # one term of a sum takes about as much memory as so many logits


@dataclass(frozen=True)
class PrefixQueries:
    """Of each of Q: how probable are the tokens of a range (low, high) of ``BytePrefixes.order`` in a teacher's row?

    rows: int64 [Q]. ranges: int64 [Q, 2].
    """

    rows: np.ndarray
    ranges: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, prefixes: list[bytes], tables: BytePrefixes) -> "PrefixQueries":
        known = {prefix: tables.within(prefix) for prefix in set(prefixes)}
        ranges = np.array([known[prefix] for prefix in prefixes], dtype=np.int64).reshape(-1, 2)
        return cls(rows.astype(np.int64), ranges)


@torch.no_grad()
def dense_masses(
    questions: PrefixQueries,
    tables: BytePrefixes,
    states: HiddenStates,
    temperature: float = 1.0,
    tile_elements: int = TILE_ELEMENTS,
) -> Tensor:
    """The log of each range's total probability, nats, [Q]: exact. Every teacher row that is asked for is made once."""
    head, device = states.head, states.head.weight.device
    order = on(tables.order, device)
    used, which = np.unique(questions.rows, return_inverse=True)
    sizes = questions.ranges[:, 1] - questions.ranges[:, 0]
    dtype = torch.promote_types(head.weight.dtype, torch.float32)
    masses = torch.empty(len(which), dtype=dtype, device=device)
    by_row = np.argsort(which, kind="stable")
    token_offsets = np.searchsorted(which[by_row], np.arange(len(used) + 1))
    step = max(1, tile_elements // head.vocab_size)
    for start in range(0, len(used), step):
        rows = on(used[start : start + step], states.hidden.device)
        logits = head.logits(states.hidden[rows].to(device)).div_(temperature)
        logits -= logits.logsumexp(-1, keepdim=True)
        asked = by_row[token_offsets[start] : token_offsets[min(start + step, len(used))]]
        for part in _parts(asked, sizes, tile_elements // _TERM_ELEMENTS):
            low = on(questions.ranges[part, 0], device)
            segments, terms = spread(on(sizes[part], device))
            values = logits[on(which[part] - start, device)[segments], order[low[segments] + terms]]
            masses[on(part, device)] = log_sums(values, segments, len(part))
    return masses


def topk_masses(
    questions: PrefixQueries, tables: BytePrefixes, topk: TopLogprobs, realised: Tensor, logprobs: Tensor
) -> Tensor:
    """A lower bound of the same, [Q]: from the k most probable tokens and the realised one, which lies in the range.

    realised: its ids, int64 [Q]. logprobs: of these, nats, [Q].
    """
    device = topk.ids.device
    rows, ranges = on(questions.rows, device), on(questions.ranges, device)
    ids = topk.ids[rows]
    ranks = on(tables.rank, device)[ids]
    inside = (ranks >= ranges[:, :1]) & (ranks < ranges[:, 1:])
    known = topk.logprobs[rows].masked_fill(~inside, -torch.inf)
    missing = (ids != realised[:, None]).all(-1)
    own = logprobs.to(known.dtype).masked_fill(~missing, -torch.inf)
    return torch.cat([known, own[:, None]], dim=-1).logsumexp(-1)


def spread(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """For segments of these sizes, put one after the other: the segment of each element, and its place in it."""
    segments = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    before = sizes.cumsum(0) - sizes
    return segments, torch.arange(len(segments), device=sizes.device) - before[segments]


def _parts(asked: np.ndarray, sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Runs of questions that have about `limit` terms together, each at least one question."""
    groups = np.cumsum(sizes[asked]) // max(1, limit)
    return np.split(asked, np.flatnonzero(np.diff(groups)) + 1) if len(asked) else []


def log_sums(values: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """Log of the sums of exponentials of each segment; -inf for an empty one."""
    largest = values.new_full((num_segments,), -torch.inf).scatter_reduce(0, segments, values, "amax")
    shift = largest.masked_fill(largest == -torch.inf, 0.0)
    sums = torch.zeros_like(shift).index_add(0, segments, (values - shift[segments]).exp())
    return sums.log() + shift
