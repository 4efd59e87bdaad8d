"""Ideas of ours that the arena tries, for vocabularies as small as its own: whole matrices of logits are held.

What wins becomes an objective of the package; what does not is in docs/LOG.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives import AlignedBatch, LossInputs, LossSum, Objective, Signal
from crossdistill.objectives.base import PairMeasure
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, merge_columns, prefixes_of
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.policy_loss import clipped_terms
from crossdistill.objectives.shared.vocab_pair import VocabPair


@dataclass(frozen=True)
class ByShare(Objective):
    """bpm's reverse KL and dpca's loss, mixed by the batch's share w of student tokens in 1:1 chunks.

    L = w L_bpm + (1 - w) L_dpca. Both are gradients of one reverse KL, so their scales are alike.
    """

    name: ClassVar[str] = "by_share"
    on_policy_only: ClassVar[bool] = True
    at_sampling_temperature: ClassVar[bool] = True

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return f"mixes bpm and dpca by the {100 * measure.one_to_one_share:.1f} % of 1:1 tokens"

    def advantages(self, batch: AlignedBatch) -> Tensor:
        return DPCA().bounded(DPCA().advantages(batch))

    def loss(self, inputs: LossInputs) -> LossSum:
        alignment = inputs.batch.alignment
        share = float(alignment.is_one_to_one.sum()) / max(1, len(inputs.batch.student.ids))
        dense, sampled = BPM(divergence="reverse").loss(inputs), DPCA().loss(inputs)
        return LossSum(share * dense.total + (1 - share) * sampled.total, sampled.stats, sampled.entropy)


@dataclass(frozen=True)
class Confident(DPCA):
    """dpca whose advantages are weighted by how sure the teacher is where the token begins.

    The weight is 1 - H(q) / log V_T, divided by its mean over the batch.
    """

    name: ClassVar[str] = "confident"

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    @property
    def loss_signal(self) -> Signal:
        return Signal.SAMPLED

    def advantages(self, batch: AlignedBatch) -> Tensor:
        teacher, rows = batch.teacher.dense, TokenOffsets.of(batch).rows
        log_q = torch.log_softmax(teacher.head.logits(teacher.hidden[torch.from_numpy(rows)]), -1)
        entropy = -(log_q.exp() * log_q).nan_to_num(0.0).sum(-1)
        sure = 1 - entropy / np.log(log_q.shape[1])
        credit: Tensor = super().advantages(batch)
        return credit * (sure / sure.mean()).to(credit)


@dataclass(frozen=True)
class Expected(Objective):
    """dpca's loss with the expectation over the next token in place of the sample, wherever it can be had.

        L = - sum_i sum_v e_iv A_iv p_iv  -  sum_i (1 - e_i s_i) m_i,      A_iv = log q_iv - log p_iv, held constant

    q_iv is bpm's target, the teacher's probability carried over to student token v; S_iv is the probability of teacher
    tokens that v would continue, so that the teacher may write v in pieces; e_iv = q_iv / (q_iv + S_iv) says how well
    q_iv is known, and is 0 for tokens without a target. m_i is dpca's clipped term of the sampled token. With e = 1
    everywhere L is bpm with reverse KL, with e = 0 it is dpca; both estimate one gradient, and the sum has less noise
    than dpca and not the bias of bpm if the student is the coarser side.

    A token of the teacher may say what does not follow it: after `hel` it hardly writes `lo`, because it would have
    written `hello`. So e is also 0 for a v that some teacher token would have joined to the one before.

    Attributes:
        max_advantage: bound of each A, in nats.
        joins: whether v that may be joined to the token before have an expectation after all.
    """

    name: ClassVar[str] = "expected"
    on_policy_only: ClassVar[bool] = True
    at_sampling_temperature: ClassVar[bool] = True

    max_advantage: float = 10.0
    joins: bool = False

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return f"takes expectations where the teacher's are known, {100 * measure.coverage:.1f} % of the bytes"

    def advantages(self, batch: AlignedBatch) -> Tensor:
        return DPCA().advantages(batch).clamp(-self.max_advantage, self.max_advantage)

    def loss(self, inputs: LossInputs) -> LossSum:
        batch, (hidden, head) = inputs.batch, inputs.student
        tables = prefixes_of(batch.pair)
        target, known = _targets(batch, tables)
        if not self.joins:
            known = known.masked_fill(_joined(batch), 0.0)
        log_all = torch.log_softmax(head.logits(hidden) / inputs.temperature, -1)
        log_p = merge_columns(log_all, tables.groups.to(batch.device))
        with torch.no_grad():
            ratio = (target.log() - log_p).clamp(-self.max_advantage, self.max_advantage)
            weight = torch.where(known > 0, known * ratio, 0.0)
        expected = (weight * log_p.exp()).sum()
        own = log_all.gather(1, batch.student.ids[:, None])[:, 0]
        columns = _columns(batch, tables)
        is_sampled = 1 - known.gather(1, columns[:, None])[:, 0]
        terms = clipped_terms(own, batch.student.old_logprobs, inputs.advantages).term
        stats = {"sampled": is_sampled.sum(), "abs_advantage": inputs.advantages.abs().sum()}
        return LossSum(-expected - (is_sampled * terms).sum(), stats)


def _targets(batch: AlignedBatch, tables: BytePrefixes) -> tuple[Tensor, Tensor]:
    """q and e of the module's equation, [N_S, V_S]; e is 0 if the teacher's normaliser rewrote the token's text."""
    offsets, teacher = TokenOffsets.of(batch), batch.teacher.dense
    num_columns = tables.residual
    dtype = batch.teacher.logprobs.dtype
    target, spanning = (torch.zeros(len(offsets.rows), num_columns, dtype=dtype) for _ in range(2))
    groups: list[tuple[np.ndarray, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]] = [
        (offsets.first, FirstTargets(tables, batch.device)),
        (offsets.inner, InnerTargets(tables, offsets.prefixes(offsets.inner), batch.device)),
    ]
    read = {int(token): prefix for token, prefix in zip(offsets.inner, offsets.prefixes(offsets.inner), strict=True)}
    with torch.no_grad():
        for tokens, targets in groups:
            if not len(tokens):
                continue
            logits = teacher.head.logits(teacher.hidden[torch.from_numpy(offsets.rows[tokens])])
            here = torch.from_numpy(tokens)
            target[here] = targets(logits, torch.arange(len(tokens)))[0][:, :-1].to(dtype)
            for row, token in enumerate(tokens.tolist()):
                spanning[token] = _spanning(batch, logits[row].softmax(-1), read.get(token, b""))
        known = torch.where(target > 0, target / (target + spanning), 0.0)
    return target, known


_CONTINUED: dict[tuple[VocabPair, bytes], tuple[Tensor, Tensor]] = {}


def _spanning(batch: AlignedBatch, probs: Tensor, prefix: bytes) -> Tensor:
    """S of the module's equation, [V_S]: the probability of teacher tokens whose rest is a proper beginning of v.

    One that ends with the bytes already read has no rest: whatever follows, it may follow.
    """
    key = batch.pair, prefix
    if key not in _CONTINUED:
        pieces = batch.pair.teacher.pieces
        fits = torch.tensor([bool(piece) and piece.startswith(prefix) for piece in pieces])
        rests = [piece[len(prefix) :] if one else None for piece, one in zip(pieces, fits.tolist(), strict=True)]
        begins = [
            [
                rest is not None and (piece != rest or not rest) and piece.startswith(rest)
                for piece in batch.pair.student.pieces
            ]
            for rest in rests
        ]
        _CONTINUED[key] = torch.tensor(begins, dtype=torch.float32), fits
    begins_, fits = _CONTINUED[key]
    whole = probs[fits].sum() if prefix else probs.sum()
    return (probs @ begins_.to(probs)) / whole.clamp(min=1e-30)


_JOINED: dict[tuple[VocabPair, bytes, bytes], Tensor] = {}


def _joined(batch: AlignedBatch) -> Tensor:
    """Whether a teacher token begins with the one before, and goes on as v does or longer: bool [N_S, V_S]."""
    offsets, pieces = TokenOffsets.of(batch), batch.pair.teacher.pieces
    read = dict(zip(offsets.inner.tolist(), offsets.prefixes(offsets.inner), strict=True))
    firsts = batch.alignment.teacher_splits[batch.response_splits[:-1]]
    found = torch.zeros(len(offsets.rows), len(batch.pair.student), dtype=torch.bool)
    ids = batch.teacher.ids.tolist()
    for token, row in enumerate(offsets.rows.tolist()):
        if row not in firsts:
            found[token] = _joins(batch.pair, pieces[ids[row - 1]], read.get(token, b""))
    return found


def _joins(pair: VocabPair, before: bytes, read: bytes) -> Tensor:
    key = pair, before, read
    if key not in _JOINED:
        rests = [p[len(before) :] for p in pair.teacher.pieces if before and p.startswith(before) and p != before]
        nexts = [read + piece if piece else None for piece in pair.student.pieces]
        _JOINED[key] = torch.tensor(
            [one is not None and any(one.startswith(rest) or rest.startswith(one) for rest in rests) for one in nexts]
        )
    return _JOINED[key]


def _columns(batch: AlignedBatch, tables: BytePrefixes) -> Tensor:
    """The column of each sampled token: that of all stops for a stop, the first of those with the same bytes else."""
    stops = {*batch.pair.student_stops}
    pieces = batch.pair.student.pieces
    ids = batch.student.ids.tolist()
    return torch.tensor([tables.stop if one in stops else batch.pair.student_ids[pieces[one]][0] for one in ids])
