"""Slow obvious twins of the parts that methods over shared candidates have in common: dictionaries by name.

One position after the other, float64, written from the definitions; autograd differentiates it.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Names = Mapping[str, Sequence[int]]
"""Name of a candidate -> its token ids on one side."""


def shared_names(
    student: Sequence[bytes], teacher: Sequence[bytes], student_stops: Sequence[int], teacher_stops: Sequence[int]
) -> tuple[Names, Names]:
    """The shared candidates of two vocabularies, given the bytes of each id: the same names on both sides."""
    ours: dict[str, Sequence[int]] = {}
    theirs: dict[str, Sequence[int]] = {}
    for text in sorted(set(student) & set(teacher) - {b""}):
        ours[f"token {text!r}"] = [k for k, piece in enumerate(student) if piece == text]
        theirs[f"token {text!r}"] = [k for k, piece in enumerate(teacher) if piece == text]
    if student_stops and teacher_stops:
        ours["stop"], theirs["stop"] = student_stops, teacher_stops
    return ours, theirs


def scores(probs: Tensor, names: Names) -> dict[str, Tensor]:
    """The probability of each candidate at one position; probs: [V]."""
    return {name: sum(probs[k] for k in ids) for name, ids in names.items()}


def unit_score(probs: Tensor, ids: Sequence[int]) -> Tensor:
    """exp of the mean log-probability of the realised tokens; probs: [tokens, V]."""
    return torch.stack([row[k] for row, k in zip(probs, ids, strict=True)]).log().mean().exp()


def divergence(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], name: str, mix: float) -> Tensor:
    """The divergence of the renormalised scores; both sides have the same names."""
    s, t = ({key: side[key] / sum(side.values()) for key in student} for side in (student, teacher))

    def kl(p: Mapping[str, Tensor], q: Mapping[str, Tensor]) -> Tensor:
        return sum(p[key] * (p[key] / q[key]).log() for key in p)

    def blend(p: Mapping[str, Tensor], q: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {key: mix * p[key] + (1 - mix) * q[key] for key in p}

    if name == "reverse":
        return kl(s, t)
    if name == "forward":
        return kl(t, s)
    if name == "skew_forward":
        return kl(t, blend(t, s))
    if name == "skew_reverse":
        return kl(s, blend(s, t))
    middle = blend(t, s)
    return mix * kl(t, middle) + (1 - mix) * kl(s, middle)
