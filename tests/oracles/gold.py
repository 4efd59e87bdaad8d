"""The slow obvious twin of the gold loss: chunk by chunk, token by token, from the bytes of both vocabularies."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tests.oracles import gkd, uld


class Side(NamedTuple):
    """One model's side.

    Attributes:
        logits: [N, V].
        ids: the realised tokens.
        pieces: bytes of each id.
        stops: ids that end a response.
    """

    logits: Tensor
    ids: Sequence[int]
    pieces: Sequence[bytes]
    stops: Sequence[int]


def merged(side: Side, rows: range, last: bool, temperature: float) -> Tensor:
    """One position's distribution times the probabilities of the tokens realised at the others: [V]."""
    base = rows[-1] if last else rows[0]
    value = torch.softmax(side.logits[base] / temperature, 0)
    for row in rows:
        if row != base:
            value = value * torch.softmax(side.logits[row] / temperature, 0)[side.ids[row]]
    return value


def names(side: Side) -> list[bytes | str]:
    """A name for each id: its bytes, "stop" if it ends a response, or a name of its own."""
    return [
        "stop" if token_id in side.stops else piece or f"control {token_id}"
        for token_id, piece in enumerate((*side.pieces, *[b""] * (side.logits.shape[1] - len(side.pieces))))
    ]


def split(vector: Tensor, own: Sequence[bytes | str], shared: Sequence[bytes | str]) -> tuple[Tensor, Tensor]:
    """The total of each shared name, and the entries without a shared name."""
    columns = [sum(vector[k] for k in range(len(own)) if own[k] == name) for name in shared]
    rest = [vector[k] for k in range(len(own)) if own[k] not in shared]
    return torch.stack(columns), torch.stack(rest) if rest else vector[:0]


def loss(
    student: Side,
    teacher: Side,
    chunks: Sequence[tuple[range, range]],
    *,
    merge: str = "observed",
    beta: float = 0.5,
    hybrid: bool = True,
    weights: tuple[float, float] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """The sum over chunks, each the rows of both sides."""
    ours, theirs = names(student), names(teacher)
    shared = sorted({name for name in ours if name in theirs and not str(name).startswith("control")}, key=str)
    share = len(shared) / teacher.logits.shape[1]
    matched_weight, rest_weight = weights or (share, 1 - share)
    total = student.logits.new_zeros(())
    for our_rows, their_rows in chunks:
        s = merged(student, our_rows, merge == "bayesian", temperature)
        t = merged(teacher, their_rows, merge == "bayesian", temperature)
        if not hybrid:
            total = total + uld.distance(s, t)
            continue
        (s_shared, s_rest), (t_shared, t_rest) = split(s, ours, shared), split(t, theirs, shared)
        total = total + matched_weight * gkd.jsd(s_shared, t_shared, beta)
        total = total + rest_weight * uld.distance(s_rest, t_rest)
    return total
