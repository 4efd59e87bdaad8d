"""The slow obvious twin of the simct loss (2605.07711, Eqs. 6-9): shared tokens and the realised unit."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tests.oracles.candidates import Names, divergence, scores, unit_score


class Side(NamedTuple):
    """One model's side.

    Attributes:
        probs: [tokens, V], the probabilities at each token's position.
        ids: the realised tokens.
        spans: (first, end) of each chunk.
        names: the candidates.
    """

    probs: Tensor
    ids: Sequence[int]
    spans: Sequence[tuple[int, int]]
    names: Names


def candidates(side: Side, chunk: int, with_unit: bool) -> dict[str, Tensor]:
    first, end = side.spans[chunk]
    found = scores(side.probs[first], side.names)
    if with_unit:
        found["unit"] = unit_score(side.probs[first:end], side.ids[first:end])
    return found


def loss(student: Side, teacher: Side, *, name: str = "reverse", mix: float = 0.5) -> Tensor:
    total = student.probs.new_zeros(())
    for chunk, (ours, theirs) in enumerate(zip(student.spans, teacher.spans, strict=True)):
        with_unit = ours[1] - ours[0] > 1 or theirs[1] - theirs[0] > 1
        both = [candidates(side, chunk, with_unit) for side in (student, teacher)]
        total = total + divergence(*both, name, mix)
    return total
