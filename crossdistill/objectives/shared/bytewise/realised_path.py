"""The teacher's probability of student tokens that span several of its own, along the path of its realised tokens."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import (
    IMPOSSIBLE_NATS,
    PrefixQueries,
    dense_prefix_logprobs,
)
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.ops import token_logprobs


class _Step(NamedTuple):
    """A student token that fits the text and is longer than the rest of the teacher token in which it begins.

    Attributes:
        token: the student token in whose row it competes.
        source: the column that held its probability so far.
        column: its own column.
        row: the teacher token in which it begins.
        last: the teacher token in which it ends.
        inside: the bytes of that token up to its end.
    """

    token: int
    source: int
    column: int
    row: int
    last: int
    inside: int


class Moves(NamedTuple):
    """P moves of probability to a longer student token; nested ones in ascending order.

    Attributes:
        tokens: int64 [P], the row of each move.
        sources: int64 [P], the column that it leaves.
        columns: int64 [P], the column that it goes to.
        probs: the probability that moves, [P].
    """

    tokens: Tensor
    sources: Tensor
    columns: Tensor
    probs: Tensor

    def of(self, tokens: Tensor) -> "Moves":
        """The moves of some student tokens (ascending), each by its index among these."""
        here = torch.isin(self.tokens, tokens)
        numbers = torch.searchsorted(tokens, self.tokens[here])
        return Moves(numbers, self.sources[here], self.columns[here], self.probs[here])

    def applied(self, target: Tensor, own: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the moves to a tile's target. Writes to `target`.

        Args:
            target: probabilities, [R, V_S + 1].
            own: bool [R or 1, V_S + 1], the columns that some teacher token goes to.
            numbers: the numbers of the R rows.

        Returns:
            The target, its columns, and the probability that left its shorter token, [R].
        """
        moved = target.new_zeros(len(target))
        here = torch.isin(self.tokens, numbers)
        if not here.any():
            return target, own, moved
        rows, probs = self.tokens[here] - numbers[0], self.probs[here].to(target.dtype)
        for columns, signed in ((self.sources[here], -probs), (self.columns[here], probs)):
            target.index_put_((rows, columns), signed, accumulate=True)
        own = own.expand_as(target).contiguous()
        own[rows, self.columns[here]] = True
        outermost = rows.diff(prepend=rows[:1] - 1) > 0  # the next ones only move on what this one moved
        return target.clamp_(min=0), own, moved.index_add(0, rows[outermost], probs[outermost])


@torch.no_grad()
def moves_along(batch: AlignedBatch, token_offsets: TokenOffsets, tables: BytePrefixes, temperature: float) -> Moves:
    """The moves to each student token that continues the text beyond a teacher token, within a chunk.

    The probability of a move is q(t_j | its bytes read so far) * q(t_j+1) * ... * M_k(bytes of t_k in the student
    token), with M as in the module `marginal`.
    """
    steps = _steps(batch, token_offsets, tables)
    device = batch.device
    table = np.array(steps, dtype=np.int64).reshape(-1, len(_Step._fields))
    tokens, sources, columns, rows, last, sizes = table.T
    pieces = batch.pair.teacher.pieces
    ids = batch.teacher.ids[to_tensor(last, device)].tolist()
    begun = [pieces[token_id][:size] for token_id, size in zip(ids, sizes.tolist(), strict=True)]
    states = batch.teacher.dense
    logprobs = _path_logprobs(batch, rows, last, temperature)
    logprobs += dense_prefix_logprobs(PrefixQueries.of(last, begun, tables), tables, states, temperature)
    log_read = torch.zeros_like(logprobs)  # 0 if the student token begins where the teacher token begins
    inside = np.flatnonzero(token_offsets.offsets[tokens])
    read = PrefixQueries.of(rows[inside], token_offsets.prefixes(tokens[inside]), tables)
    log_read[to_tensor(inside, log_read.device)] = dense_prefix_logprobs(read, tables, states, temperature).double()
    ruled_out = log_read == -torch.inf  # there is no distribution to move: all of the target is the residual
    probs = (logprobs - log_read).exp().masked_fill(ruled_out, 0.0).to(device)
    return Moves(to_tensor(tokens, device), to_tensor(sources, device), to_tensor(columns, device), probs)


def _steps(batch: AlignedBatch, token_offsets: TokenOffsets, tables: BytePrefixes) -> list[_Step]:
    ends, chunk_ends = token_offsets.teacher_ends, batch.alignment.byte_splits[token_offsets.chunks + 1]
    continues = (ends[token_offsets.rows] < chunk_ends) & token_offsets.is_verbatim[token_offsets.chunks]
    steps = []
    for token in np.flatnonzero(continues).tolist():
        start, row = int(token_offsets.starts[token]), int(token_offsets.rows[token])
        left = int(ends[row]) - start
        source = tables.column(token_offsets.data[start : start + left])
        for column, size in tables.longer(token_offsets.data[start : int(chunk_ends[token])], left):
            last = int(np.searchsorted(ends, start + size))
            steps.append(_Step(token, source, column, row, last, start + size - int(ends[last - 1])))
            source = column
    return steps


def _path_logprobs(batch: AlignedBatch, rows: np.ndarray, last: np.ndarray, temperature: float) -> Tensor:
    """Sums of the realised teacher tokens' log-probabilities from `rows` up to before `last`, nats, float64."""
    hidden, head = batch.teacher.dense
    sizes = last - rows
    used = np.unique(np.repeat(rows, sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes))
    device = head.weight.device
    ids = batch.teacher.ids[to_tensor(used, batch.device)].to(device)
    used_hidden = hidden[to_tensor(used, hidden.device)].to(device)
    logprobs = token_logprobs(used_hidden, head, ids, temperature).logprobs.double()
    sums = torch.cat([logprobs.new_zeros(1), logprobs.clamp(min=IMPOSSIBLE_NATS).cumsum(0)])
    first, stop = (to_tensor(np.searchsorted(used, bound), device) for bound in (rows, last))
    return sums[stop] - sums[first]
