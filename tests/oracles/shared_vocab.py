"""The slow obvious twin of the shared_vocab loss: a term at the first position of every chunk."""

from collections.abc import Sequence

from torch import Tensor

from tests.oracles.candidates import Names, divergence, scores


def loss(
    student: Tensor,
    teacher: Tensor,
    splits: Sequence[tuple[int, int]],
    names: tuple[Names, Names],
    *,
    name: str = "reverse",
    mix: float = 0.5,
) -> Tensor:
    """The sum over chunks: probabilities [tokens, V] of each side, and the first token of each chunk on each side."""
    total = student.new_zeros(())
    for first, their_first in splits:
        total = total + divergence(scores(student[first], names[0]), scores(teacher[their_first], names[1]), name, mix)
    return total
