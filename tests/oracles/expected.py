"""The loss of `expected` by enumerating what the teacher may write next, in plain Python: one response at a time."""

import math

import torch
from torch import Tensor

from tests.oracles.bpm import STOP, Column, Text, positions

CLIP_LOW, CLIP_HIGH, DUAL_CLIP = 0.2, 0.28, 10.0


def known(text: Text, probs: Tensor, row: int, read: bytes) -> dict[Column, tuple[float, float]]:
    """Of each student column that a teacher token goes to: its target, and how well that is known."""
    student = [p for k, p in enumerate(text.student_pieces) if p and k not in text.student_stops]
    teacher = [b"" if k in text.teacher_stops else piece for k, piece in enumerate(text.teacher_pieces)]
    fitting = {k: piece[len(read) :] for k, piece in enumerate(teacher) if piece and piece.startswith(read)}
    silent = {} if read else {k: None for k, piece in enumerate(teacher) if not piece}
    total = sum(probs[row, k].item() for k in [*fitting, *silent])
    target: dict[Column, float] = {}
    for token, rest in fitting.items():
        column: Column | None = max((p for p in student if rest.startswith(p)), key=len, default=None)
        if column is not None and total > 0:
            target[column] = target.get(column, 0.0) + probs[row, token].item() / total
    if not read and text.student_stops and text.teacher_stops:
        target[STOP] = sum(probs[row, k].item() for k in text.teacher_stops) / total
    found = {}
    for column, q in target.items():
        shorter = [k for k, rest in fitting.items() if isinstance(column, bytes) and rest != column]
        beyond = sum(probs[row, k].item() for k in shorter if column.startswith(fitting[k])) / total
        found[column] = q, (q / (q + beyond) if q > 0 else 0.0)
    return found


def is_joined(text: Text, before: bytes, data: bytes) -> bool:
    """Whether a longer teacher token begins with the one before and goes on as `data` does."""
    pieces = [p for k, p in enumerate(text.teacher_pieces) if k not in text.teacher_stops]
    rests = [piece[len(before) :] for piece in pieces if before and piece.startswith(before) and piece != before]
    return any(rest.startswith(data) or data.startswith(rest) for rest in rests)


def loss(
    text: Text,
    student: Tensor,
    teacher: Tensor,
    old: Tensor,
    advantages: Tensor,
    bound: float = 10.0,
    temperature: float = 1.0,
) -> Tensor:
    """The sum over student tokens; logits [n, V_S] and [m, V_T], old log-probabilities and advantages [n]."""
    log_all = torch.log_softmax(student / temperature, -1)
    probs = torch.softmax(teacher / temperature, -1).detach()
    total = torch.zeros((), dtype=torch.float64)
    for token, tokens, read, _ in positions(text):
        row = tokens[0]
        before = b"" if row == 0 else text.teacher_pieces[text.teacher[row - 1]]
        own = STOP if text.student[token] in text.student_stops else text.student_pieces[text.student[token]]
        ours, own_known = text.columns(log_all[token]), 0.0
        for column, (q, share) in known(text, probs, row, read).items():
            if isinstance(column, bytes) and is_joined(text, before, read + column):
                continue
            if isinstance(column, str) and read and is_joined(text, before, read):
                continue
            if column == own:
                own_known = share
            if share > 0:
                advantage = math.log(q) - math.log(max(ours[column].item(), 1e-300))
                total = total - share * max(-bound, min(bound, advantage)) * ours[column]
        advantage = float(advantages[token])
        ratio = (log_all[token, text.student[token]] - old[token]).exp()
        term = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * advantage)
        if advantage < 0:
            term = torch.maximum(term, torch.tensor(DUAL_CLIP * advantage, dtype=torch.float64))
        total = total - (1 - own_known) * term
    return total
