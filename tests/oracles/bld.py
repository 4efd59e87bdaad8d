"""The slow obvious twin of the bld loss: one byte of one student token at a time, by looking at every teacher token.

Whole matrices of log-probabilities; differentiable.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

END = 256


class Response(NamedTuple):
    """One response.

    Attributes:
        student: the bytes of each student token, None for a stop.
        teacher: the bytes of each teacher token, None for a stop.
        logits: logits of the heads, [tokens, K, 257].
        teacher_probs: probabilities of the teacher's next token, [teacher tokens, V_T].
    """

    student: Sequence[bytes | None]
    teacher: Sequence[bytes | None]
    logits: Tensor
    teacher_probs: Tensor


def next_byte(row: Tensor, vocabulary: Sequence[bytes], stops: Sequence[int], read: bytes) -> dict[int, Tensor]:
    """P(next symbol | the teacher's token begins with `read` and continues) under the probabilities [V_T] of one row.

    Empty if the teacher rules that out.
    """
    probs: dict[int, Tensor] = {}
    for token, piece in enumerate(vocabulary):
        if token in stops:
            symbol = None if read else END
        else:
            symbol = piece[len(read)] if piece.startswith(read) and len(piece) > len(read) else None
        if symbol is not None:
            probs[symbol] = probs.get(symbol, torch.zeros((), dtype=row.dtype)) + row[token]
    total = sum(probs.values(), torch.zeros((), dtype=row.dtype))
    return {symbol: value / total for symbol, value in probs.items() if value > 0}


def loss(
    responses: Sequence[Response], vocabulary: Sequence[bytes], stops: Sequence[int], byte_nll: float = 0.0
) -> tuple[Tensor, int]:
    """Sum over bytes of KL(teacher || student), plus their weighted cross-entropy; and the number of bytes."""
    symbols = list(range(257 if stops else 256))
    total, count = torch.zeros((), dtype=torch.float64), 0
    for response in responses:
        place_of = [(j, k) for j, piece in enumerate(response.teacher) for k in range(len(piece or b"."))]
        text = b"".join(piece or b"." for piece in response.teacher)
        position = 0
        for i, piece in enumerate(response.student):
            for k in range(len(piece or b".")):
                if k < response.logits.shape[1]:
                    j, offset = place_of[position + k]
                    read = text[position + k - offset : position + k]
                    target = next_byte(response.teacher_probs[j], vocabulary, stops, read)
                    scores = response.logits[i, k, symbols]
                    log_probs = scores - torch.log(torch.exp(scores - scores.max()).sum()) - scores.max()
                    for symbol, probability in target.items():
                        total = total + probability * (probability.log() - log_probs[symbol])
                    total = total - byte_nll * log_probs[END if piece is None else piece[k]]
                    count += 1
            position += len(piece or b".")
    return total, count
