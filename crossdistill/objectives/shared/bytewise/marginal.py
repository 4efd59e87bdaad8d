"""Credit by byte-prefix marginals: the teacher's own score of each student token.

    A_i = score_i - log p_i,   score_i = F(end of i) - F(start of i)
    F(x) = sum over the chunk's teacher tokens that end up to byte x of log q_j
           + log M_j(l), if x lies l bytes inside teacher token j
    M_j(l) = total probability, at the position that predicts token j, of the tokens that begin with its first l bytes

F is 0 at the start of a chunk and L_T at its end, so the scores add up to L_T and the advantages to L_T - L_S in every
chunk. In a chunk of one teacher token, score_i is the log-probability that the teacher's next token continues with the
bytes of student token i, given those before. In a chunk of several, the path of the realised teacher tokens is
followed, a lower bound: other tokenisations of the same bytes are left out. At student == teacher (one vocabulary)
every chunk is 1:1 and A is 0.

With a DENSE signal M is exact. With TOPK it is a lower bound from the k tokens that are known, and never less than the
realised token's own probability: what is missing is taken from the first tokens of a chunk and given to its last, so
that the sum stays. Chunks in which the teacher's normaliser rewrote the text are credited by the semantic prior,
because nothing is known of the insides of their tokens.
"""

import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import (
    IMPOSSIBLE_NATS,
    PrefixQueries,
    dense_prefix_logprobs,
    topk_prefix_logprobs,
)
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch


def marginal_credit(batch: AlignedBatch, prior: Tensor) -> Tensor:
    """Advantages in nats, [N_S], constant; empty for no tokens. The teacher's states are used if there are any.

    Args:
        batch: aligned responses; the teacher's signal is DENSE or TOPK.
        prior: the credit of the chunks whose insides are not known, nats, [N_S].
    """
    student = batch.student.logprobs.detach()
    token_offsets = TokenOffsets.of(batch)
    starts = _scores_at_starts(batch, token_offsets)
    ends = starts.roll(-1)
    ends[batch.student_splits[1:] - 1] = _cumulative_logprobs(batch)[batch.teacher_splits].diff()
    credit = (ends - starts).to(student.dtype) - student
    return torch.where(to_tensor(token_offsets.is_verbatim[token_offsets.chunks], student.device), credit, prior)


def _scores_at_starts(batch: AlignedBatch, token_offsets: TokenOffsets) -> Tensor:
    """F at the start of each student token, float64 [N_S], counted from the start of its chunk."""
    device, inner = batch.device, token_offsets.inner
    scores = torch.zeros(len(token_offsets.starts), dtype=torch.float64, device=device)
    cumulative, rows = _cumulative_logprobs(batch), to_tensor(token_offsets.rows[inner], device)
    firsts = batch.teacher_splits[to_tensor(token_offsets.chunks[inner], device)]
    before = cumulative[rows] - cumulative[firsts]
    scores[to_tensor(inner, device)] = before + _prefix_logprobs(batch, token_offsets)
    return scores


def _prefix_logprobs(batch: AlignedBatch, token_offsets: TokenOffsets) -> Tensor:
    """log M at the start of each inner student token, float64."""
    inner, tables, teacher = token_offsets.inner, prefixes_of(batch.pair), batch.teacher
    queries = PrefixQueries.of(token_offsets.rows[inner], token_offsets.prefixes(inner), tables)
    rows = to_tensor(queries.rows, batch.device)
    realised = teacher.logprobs.detach()[rows].double()
    if teacher.states is not None:
        found = dense_prefix_logprobs(queries, tables, teacher.states)
    else:
        found = topk_prefix_logprobs(queries, tables, teacher.most_probable, teacher.ids[rows], realised)
    found = found.to(realised)
    return torch.maximum(found, realised).clamp(IMPOSSIBLE_NATS, 0.0)  # both bounds hold except for rounding


def _cumulative_logprobs(batch: AlignedBatch) -> Tensor:
    """Sums of the teacher's log-probabilities before each of its tokens and after all, float64 [N_T + 1]."""
    logprobs = batch.teacher.logprobs.detach().double().clamp(min=IMPOSSIBLE_NATS)
    return torch.cat([logprobs.new_zeros(1), logprobs.cumsum(0)])
