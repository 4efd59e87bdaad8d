"""What a teacher gives to student tokens that span several of its own, along the path of the realised tokens."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, on
from crossdistill.objectives.shared.bytewise.prefix_probabilities import IMPOSSIBLE_NATS, PrefixQueries, dense_masses
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.ops import token_logprobs


class _Step(NamedTuple):
    """A student token (`column`) that is longer than what is left of the teacher token `row` and that fits the text.

    token: the student token in whose row it competes. source: the column to which its probability went so far. last,
    inside: the teacher token in which it ends, and after how many bytes of it.
    """

    token: int
    source: int
    column: int
    row: int
    last: int
    inside: int


class Moves(NamedTuple):
    """Probability that moves on to a longer student token, nested ones in ascending order.

    tokens, sources, columns: int64 [P], the row and the columns. masses: probabilities, [P].
    """

    tokens: Tensor
    sources: Tensor
    columns: Tensor
    masses: Tensor

    def of(self, tokens: Tensor) -> "Moves":
        """Those of some student tokens (ascending), each by its number among these."""
        here = torch.isin(self.tokens, tokens)
        numbers = torch.searchsorted(tokens, self.tokens[here])
        return Moves(numbers, self.sources[here], self.columns[here], self.masses[here])

    def applied(self, target: Tensor, own: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A tile's target and columns with them, and how much left its shorter token: [R]. Writes to `target`.

        target: probabilities [R, V_S + 1]. own: bool [R or 1, V_S + 1], its columns. numbers: those of the R rows.
        """
        moved = target.new_zeros(len(target))
        here = torch.isin(self.tokens, numbers)
        if not here.any():
            return target, own, moved
        rows, masses = self.tokens[here] - numbers[0], self.masses[here].to(target.dtype)
        for columns, signed in ((self.sources[here], -masses), (self.columns[here], masses)):
            target.index_put_((rows, columns), signed, accumulate=True)
        own = own.expand_as(target).contiguous()
        own[rows, self.columns[here]] = True
        outermost = rows.diff(prepend=rows[:1] - 1) > 0  # the next ones only move on what this one moved
        return target.clamp_(min=0), own, moved.index_add(0, rows[outermost], masses[outermost])


@torch.no_grad()
def moves_along(batch: AlignedBatch, token_offsets: TokenOffsets, tables: BytePrefixes, temperature: float) -> Moves:
    """For each student token that the text goes on with beyond a teacher token, within a chunk: the probability

    q(t_j | its bytes read so far) * q(t_j+1) * ... * M_k(bytes of t_k in it), with M as in the module `marginal`.
    """
    steps = _steps(batch, token_offsets, tables)
    device = batch.device
    table = np.array(steps, dtype=np.int64).reshape(-1, len(_Step._fields))
    tokens, sources, columns, rows, last, sizes = table.T
    pieces = batch.pair.teacher.pieces
    ids = batch.teacher.ids[on(last, device)].tolist()
    begun = [pieces[token_id][:size] for token_id, size in zip(ids, sizes.tolist(), strict=True)]
    states = batch.teacher.dense
    log_masses = _path_logprobs(batch, rows, last, temperature)
    log_masses += dense_masses(PrefixQueries.of(last, begun, tables), tables, states, temperature)
    log_read = torch.zeros_like(log_masses)  # where a student token begins with a teacher token: the mass of all is 1
    inside = np.flatnonzero(token_offsets.offsets[tokens])
    read = PrefixQueries.of(rows[inside], token_offsets.prefixes(tokens[inside]), tables)
    log_read[on(inside, log_read.device)] = dense_masses(read, tables, states, temperature).double()
    ruled_out = log_read == -torch.inf  # such a teacher says nothing: all of its target is the residual
    masses = (log_masses - log_read).exp().masked_fill(ruled_out, 0.0).to(device)
    return Moves(on(tokens, device), on(sources, device), on(columns, device), masses)


def _steps(batch: AlignedBatch, token_offsets: TokenOffsets, tables: BytePrefixes) -> list[_Step]:
    ends, chunk_ends = token_offsets.teacher_ends, batch.alignment.byte_splits[token_offsets.chunks + 1]
    going_on = (ends[token_offsets.rows] < chunk_ends) & token_offsets.spelled[token_offsets.chunks]
    steps = []
    for token in np.flatnonzero(going_on).tolist():
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
    ids = batch.teacher.ids[on(used, batch.device)].to(device)
    logprobs = token_logprobs(hidden[on(used, hidden.device)].to(device), head, ids, temperature).logprobs.double()
    sums = torch.cat([logprobs.new_zeros(1), logprobs.clamp(min=IMPOSSIBLE_NATS).cumsum(0)])
    first, stop = (on(np.searchsorted(used, border), device) for border in (rows, last))
    return sums[stop] - sums[first]
