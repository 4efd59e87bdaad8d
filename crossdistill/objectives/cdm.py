"""Contextual dynamic mapping (Chen et al., 2502.11104).

    L = sum_c  mean_{g in c}  D( softmax(z_S[map]) || softmax(z_T[map]) )

In each chunk c the realised tokens of both sides are paired by entropy-weighted dynamic time warping (module `dtw`),
which gives groups g of tokens that are compared as one: the mean of the log-probabilities at their positions. There the
teacher's top k are mapped to student tokens (module `vocab_map`), and D compares both models over the mapped tokens
alone, each renormalised; the paper's D is KL(T || S).

Value at student == teacher: 0 if the top k hold all tokens of the same bytes. Signal: TOPK. No chunks, or no two mapped
tokens at a position: 0 with zero gradient.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.divergence import FLOOR_NATS, Divergence, check_positive
from crossdistill.objectives.shared.dynamic_mapping.dtw import TokenGroup, TokenSequence, entropy_weights, group_tokens
from crossdistill.objectives.shared.dynamic_mapping.edit_distance import ByteStrings
from crossdistill.objectives.shared.dynamic_mapping.mapped_logits import MappedPositions, map_groups
from crossdistill.objectives.shared.dynamic_mapping.vocab_map import TopTokens, vocab_map_of
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates
from crossdistill.ops.logprobs import TILE_ELEMENTS
from crossdistill.signal import Signal


@dataclass(frozen=True)
class CDM(Objective):
    """Divergence over dynamically mapped tokens.

    Attributes:
        top_k: the most probable tokens of each side that are read at each position.
        max_distance: a token without a counterpart of the same bytes is mapped to one nearer than this; 0: to none.
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        temperature: divides the log-probabilities of both sides over the mapped tokens.

    Example:
        >>> objective = CDM(top_k=20)
        >>> objective.signal.value, objective.top_k
        ('topk', 20)
    """

    name: ClassVar[str] = "cdm"

    top_k: int = 100
    max_distance: float = 0.3
    divergence: str = "forward"
    mix: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.top_k < 2:
            raise InputError(f"top_k must be at least 2, or there is nothing to compare, not {self.top_k}.")
        if not 0 <= self.max_distance <= 1:
            raise InputError(f"max_distance, of two tokens, lies in [0, 1], not {self.max_distance}.")
        check_positive(temperature=self.temperature)
        Divergence(self.divergence, self.mix)

    @property
    def signal(self) -> Signal:
        return Signal.TOPK

    def describe(self, measure: PairMeasure) -> str:
        similar = ", and to ones of similar spelling (a guess)" if self.max_distance else ""
        return f"maps tokens to shared entries{similar}, in {measure.num_chunks:,} chunks"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if the vocabularies share no entry."""
        pair.check_shared(self.name)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks.

        All discrete choices are made first, on the CPU; then a few logits a position are computed.

        Stats: mapped_mass, the teacher's probability of its mapped tokens; similar_mass, that of the tokens which are
        mapped by similar spelling.
        """
        batch, student = inputs.batch, inputs.student
        ours, entropy = student_top_tokens(student, self.top_k)
        theirs = teacher_top_tokens(batch, self.top_k)
        groups = _groups(batch, entropy, top_entropies(theirs))
        vocab_map = vocab_map_of(batch.pair)
        entries = map_groups(vocab_map, groups, ours, theirs, self.max_distance)
        mapped = MappedPositions.of(groups, entries, vocab_map.groups, student.hidden.device)
        scores = mapped.student_scores(student)
        teacher = mapped.teacher.to(scores).masked_fill(~mapped.mask[:, : mapped.teacher.shape[1]], -torch.inf)
        log_probs = ((side / self.temperature).log_softmax(-1) for side in (scores, teacher))
        divergence = Divergence(self.divergence, self.mix)(*log_probs)
        shares = _shares(groups)
        weights = torch.as_tensor(shares, device=scores.device, dtype=scores.dtype)[mapped.groups]
        probs = np.exp(entries.logprobs) * shares[entries.rows]
        stats = {"mapped_mass": probs.sum(), "similar_mass": probs[entries.similar].sum()}
        return LossSum(
            (weights * divergence).sum(),
            {name: weights.new_tensor(value) for name, value in stats.items()},
            weights.new_tensor(entropy.sum()),
        )


def _groups(batch: AlignedBatch, student_entropy: np.ndarray, teacher_entropy: np.ndarray) -> list[TokenGroup]:
    """The groups of tokens that are compared as one."""
    sides = []
    for tokens, vocab, splits, entropy in (
        (batch.student, batch.pair.student, batch.alignment.student_splits, student_entropy),
        (batch.teacher, batch.pair.teacher, batch.alignment.teacher_splits, teacher_entropy),
    ):
        strings = ByteStrings.of(vocab.pieces[token] for token in tokens.ids.tolist())
        weights = entropy_weights(entropy, splits[batch.response_splits])
        sides.append(TokenSequence(strings, tokens.ends.cpu().numpy(), weights))
    return group_tokens(batch.alignment, *sides)


def _shares(groups: list[TokenGroup]) -> np.ndarray:
    """The weight of each group, so that each chunk has 1 in total: float64 [groups]."""
    chunks = np.fromiter((group.chunk for group in groups), np.int64, len(groups))
    return 1 / np.bincount(chunks)[chunks] if len(chunks) else np.zeros(0)


@torch.no_grad()
def student_top_tokens(student: HiddenStates, k: int) -> tuple[TopTokens, np.ndarray]:
    """The student's k most probable tokens at each of its N positions, and its entropies there: nats, float64 [N]."""
    hidden, head = student
    k = min(k, head.vocab_size)
    tops = []
    for tile in hidden.split(max(1, TILE_ELEMENTS // head.vocab_size)):  # no positions give one empty tile
        log_probs = head.logits(tile).log_softmax(-1)
        top = log_probs.topk(k, -1)
        entropy = -torch.einsum("nv,nv->n", log_probs.exp(), log_probs.clamp_(min=FLOOR_NATS))
        tops.append((top.indices.cpu(), top.values.double().cpu(), entropy.double().cpu()))
    ids, logprobs, entropies = (torch.cat(parts).numpy() for parts in zip(*tops, strict=True))
    return TopTokens(ids, logprobs), entropies


def teacher_top_tokens(batch: AlignedBatch, k: int) -> TopTokens:
    """The teacher's most probable tokens: k of them, or fewer if it gave fewer."""
    ids, logprobs = (part[:, :k].cpu() for part in batch.teacher.most_probable)
    return TopTokens(ids.numpy(), logprobs.double().numpy())


def top_entropies(tops: TopTokens) -> np.ndarray:
    """Entropies of distributions whose top k is known: nats, [N]. A lower bound, as the rest counts as one outcome."""
    rest = np.maximum(1 - np.exp(tops.logprobs).sum(-1), 0)
    logs = np.maximum(tops.logprobs, FLOOR_NATS)
    return -(np.exp(logs) * logs).sum(-1) - rest * np.log(np.maximum(rest, 1e-300))
