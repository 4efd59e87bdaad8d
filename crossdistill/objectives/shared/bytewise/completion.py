"""Whether the student completes, at its next token, a teacher token that it has begun: the child loss of escd."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import to_tensor
from crossdistill.objectives.shared.bytewise.comparison import tempered
from crossdistill.objectives.shared.bytewise.range_masses import RangeMasses, range_logsumexp
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.bytewise.unfinished import UnfinishedTokens
from crossdistill.objectives.shared.divergence import FLOOR_NATS
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import Share, tiled_sum
from crossdistill.ops.tiled import TiledSum


@dataclass(frozen=True)
class Begun:
    """N student tokens s that begin a chunk, with which some teacher tokens begin, and which have a successor.

    Attributes:
        tokens: int64 [N], the student token; its successor is the one that was sampled after it.
        rows: int64 [N], the teacher token at the same place.
        pieces: the bytes of s.
        ranges: int64 [N, 2], T(s) in ``UnfinishedTokens.order``.
        elsewhere: int64 [N, 2], the part of T(s) that is completed elsewhere (module `completion_path`).
    """

    tokens: np.ndarray
    rows: np.ndarray
    pieces: list[bytes]
    ranges: np.ndarray
    elsewhere: np.ndarray

    @classmethod
    def of(cls, batch: AlignedBatch, token_offsets: TokenOffsets, unfinished: UnfinishedTokens) -> "Begun":
        """Those of a batch. Nothing is completed elsewhere."""
        first = token_offsets.first
        roots = first[ends_of_stretches(batch)[first] > first + 1]
        ids, known = batch.student.ids[to_tensor(roots, batch.device)].tolist(), batch.pair.student.pieces
        pieces = [known[token_id] for token_id in ids]
        found = {piece: unfinished.of(piece) for piece in set(pieces)}
        ranges = np.array([found[piece] for piece in pieces], dtype=np.int64).reshape(-1, 2)
        kept = np.flatnonzero(ranges[:, 1] > ranges[:, 0])
        tokens = roots[kept]
        chosen = [pieces[k] for k in kept.tolist()]
        return cls(tokens, token_offsets.rows[tokens], chosen, ranges[kept], np.zeros((len(kept), 2), dtype=np.int64))


def ends_of_stretches(batch: AlignedBatch) -> np.ndarray:
    """For each student token, where the tokens end that were sampled one after the other from there on: int64 [N_S].

    A token that is not in the batch ends a stretch: the state after it does not follow the token before it.
    """
    is_last = np.zeros(len(batch.student.ids), dtype=bool)
    ends = batch.alignment.student_splits[batch.response_splits[1:]]
    is_last[ends[ends > 0] - 1] = True
    if batch.student.positions is not None:
        is_last[:-1] |= np.diff(batch.student.positions.cpu().numpy()) != 1
    lasts = np.flatnonzero(is_last)
    return lasts[np.searchsorted(lasts, np.arange(len(is_last)))] + 1


def next_token_loss(
    inputs: LossInputs, begun: Begun, unfinished: UnfinishedTokens, *, normalise: bool, temperature: float
) -> TiledSum:
    """``- sum over t in T(s) of w_t log P(the next student token begins with the rest of t)``, summed over N.

    Teacher tokens whose rest no student token begins with have no term.

    Args:
        inputs: the inputs of the loss; the teacher's signal is DENSE.
        begun: the student tokens s.
        unfinished: the tables of the pair.
        normalise: whether w_t is the teacher's probability of t given T(s), and not that of t.
        temperature: divides the logits of both sides.

    Returns:
        Nats; and as stats the same, and the teacher's probability of all t that have a term.
    """
    (hidden, head), teacher = inputs.student, inputs.batch.teacher.dense
    device = inputs.batch.device
    table, places = _table(begun, unfinished, device)
    return tiled_sum(
        _function(begun, unfinished, table, places, normalise, temperature, device),
        hidden[to_tensor(begun.tokens + 1, device)],
        head,
        teacher.hidden[to_tensor(begun.rows, teacher.hidden.device)],
        teacher.head,
        tile_elements=table.tile_elements(head.vocab_size + teacher.head.vocab_size),
    )


def _table(begun: Begun, unfinished: UnfinishedTokens, device: torch.device) -> tuple[RangeMasses, Tensor]:
    """The completing tokens of each t, and the place of t in ``UnfinishedTokens.order``, int64 [E]."""
    number = {piece: k for k, piece in enumerate(dict.fromkeys(begun.pieces))}
    found = [unfinished.completions(piece) for piece in number]
    empty = np.zeros(0, dtype=np.int64)
    places, low, sizes = (np.concatenate([empty, *part]) for part in zip(*found, strict=True)) if found else [empty] * 3
    counts = np.array([len(item.places) for item in found], dtype=np.int64)
    which = np.array([number[piece] for piece in begun.pieces], dtype=np.int64)
    offsets = np.cumsum(counts) - counts
    parts = (unfinished.student.order, offsets[which], counts[which], low, sizes)
    return RangeMasses(*(to_tensor(part, device) for part in parts)), to_tensor(places, device)


def _function(
    begun: Begun,
    unfinished: UnfinishedTokens,
    table: RangeMasses,
    places: Tensor,
    normalise: bool,
    temperature: float,
    device: torch.device,
) -> Callable[..., Share]:
    order, ranges, elsewhere = (to_tensor(part, device) for part in (unfinished.order, begun.ranges, begun.elsewhere))

    def share(student_logits: Tensor, teacher_logits: Tensor, numbers: Tensor) -> Share:
        rows, found = table.ranges(numbers)
        place, (low, high) = places[found], elsewhere[numbers][rows].unbind(-1)
        is_here = (place < low) | (place >= high)
        rows, found, place = rows[is_here], found[is_here], place[is_here]
        with torch.no_grad():
            logits = tempered(teacher_logits, temperature)
            chosen, total = logits[rows, order[place]], logits.logsumexp(-1)
            probs = (chosen - total[rows]).exp()
            weights = probs
            if normalise:
                first, after = ranges[numbers].unbind(-1)
                within = range_logsumexp(logits, torch.arange(len(numbers), device=device), order, first, after - first)
                weights = (chosen - within[rows]).exp().masked_fill(within[rows] == -torch.inf, 0.0)
        log_masses = table.log_masses(tempered(student_logits, temperature), rows, found)
        zeros = student_logits.new_zeros(len(numbers))
        loss = zeros.index_add(0, rows, -weights * log_masses.clamp(min=FLOOR_NATS))
        return Share(loss, {"child": loss.detach(), "begun": zeros.index_add(0, rows, probs.to(zeros))})

    return share
