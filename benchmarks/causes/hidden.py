"""What the teacher means and has no shared entry for: where chunks begin, in rollouts of the demo's student."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.causes.demo_pair import DemoPair, sample, scored
from crossdistill.demo.task import Problem
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.rank_distance import rank_distance
from crossdistill.ops import HiddenStates

TIMES = 10.0
"""A token is meant by a longer one if the teacher gives the longer ones together this many times its probability."""


@torch.no_grad()
def hidden_entries(pair: DemoPair, problems: Sequence[Problem]) -> dict[str, Any]:
    """Of 1:1 chunks, of all other ones and of stops: the teacher's probability on the shared entries, and what reverse
    KL over these does.

    Each kind: the number of chunks; both models' probability on the shared entries, their mean; the share of chunks at
    which the teacher's is below a half; the reverse KL of the renormalised distributions, mean and median in nats; and,
    of all that a descent lowers (the positive part of the gradient with respect to the student's renormalised logits),
    the share that falls on tokens which the teacher writes as the beginning of a longer token of its own.
    """
    aligned, student, teacher = _at_chunk_starts(pair, problems)
    columns = aligned.pair.shared()
    ours, theirs = columns.student.select(student), columns.teacher.select(teacher)
    log_p, log_q = ours.log_softmax(-1), theirs.log_softmax(-1)
    ratio = log_p - log_q
    divergence = (log_p.exp() * ratio).sum(-1)
    lowered = (log_p.exp() * (ratio - divergence[:, None])).clamp(min=0)
    pieces = [aligned.pair.student.pieces[token] for token in columns.student.first.tolist()]
    meant = _meant_by_longer(pieces, aligned.pair.teacher.pieces, teacher, theirs)
    one, stop = (torch.as_tensor(flags) for flags in (aligned.alignment.is_one_to_one, aligned.is_stop))
    return {
        name: {
            "chunks": int(kept.sum()),
            "student_shared": float(ours[kept].exp().sum(-1).mean()),
            "teacher_shared": float(theirs[kept].exp().sum(-1).mean()),
            "below_half": float((theirs[kept].exp().sum(-1) < 0.5).float().mean()),
            "reverse_kl": float(divergence[kept].mean()),
            "median_reverse_kl": float(divergence[kept].median()),
            "lowered_though_meant": float((lowered * meant)[kept].sum() / lowered[kept].sum()),
        }
        for name, kept in (("one_to_one", one & ~stop), ("other", ~one), ("stop", stop))
    }


def favourites(pair: DemoPair, problems: Sequence[Problem]) -> dict[str, float]:
    """What uld does with the student's favourite at the starts of chunks: shares of its gradient's absolute values.

    disputed: at chunks at which the student's favourite token is not the teacher's (by bytes). raised: of that, the
    share at which a descent raises the student's favourite.
    """
    aligned, student, teacher = _at_chunk_starts(pair, problems)
    leaf = student.requires_grad_()
    (found,) = torch.autograd.grad(rank_distance(leaf.softmax(-1), teacher.exp()).sum(), leaf)
    best, theirs = student.argmax(-1), teacher.argmax(-1)
    pieces = aligned.pair.student.pieces, aligned.pair.teacher.pieces
    pairs = zip(best.tolist(), theirs.tolist(), strict=True)
    differs = torch.tensor([not _agree(pieces[0][ours], pieces[1][other]) for ours, other in pairs])
    slopes = found.gather(1, best[:, None])[:, 0]
    disputed = slopes[differs].abs().sum()
    return {
        "disputed": float(disputed / slopes.abs().sum()),
        "raised": float(-slopes[differs].clamp(max=0).sum() / disputed),
    }


def _agree(ours: bytes, theirs: bytes) -> bool:
    """Whether one begins the other: they may be spellings of the same text."""
    return ours.startswith(theirs) or theirs.startswith(ours)


@torch.no_grad()
def _at_chunk_starts(pair: DemoPair, problems: Sequence[Problem]) -> tuple[AlignedBatch, Tensor, Tensor]:
    """Rollouts of the student at the start, and both models' log-probabilities where their chunks begin."""
    torch.manual_seed(0)
    distiller = pair.distiller("shared_vocab")
    batch = scored(distiller, problems, sample(distiller, problems))
    states, head = distiller.student_states(batch)
    aligned = AlignedBatch.concatenate([item.batch for item in batch.responses if item.batch is not None])
    ours = HiddenStates(states, head).at(aligned.student_splits[:-1])
    return aligned, _log_probs(ours), _log_probs(aligned.teacher.dense.at(aligned.teacher_splits[:-1]))


def _log_probs(states: HiddenStates) -> Tensor:
    return states.head.logits(states.hidden).log_softmax(-1)


def _meant_by_longer(
    pieces: Sequence[bytes], teacher_pieces: Sequence[bytes], log_probs: Tensor, shared: Tensor
) -> Tensor:
    """Whether the teacher means a shared entry by longer tokens of its own: bool [C, K]."""
    meant = torch.zeros_like(shared, dtype=torch.bool)
    for column, piece in enumerate(pieces):
        longer = [k for k, other in enumerate(teacher_pieces) if piece and other.startswith(piece) and other != piece]
        if longer:
            meant[:, column] = log_probs[:, longer].exp().sum(-1) > TIMES * shared[:, column].exp()
    return meant
