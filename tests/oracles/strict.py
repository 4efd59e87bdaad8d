"""The slow obvious twin of the strict loss (2610.08448): a term at each 1:1 chunk, over all or some candidates."""

from collections.abc import Sequence

from torch import Tensor

from tests.oracles.candidates import Names, divergence, scores


def loss(
    student: Tensor,
    teacher: Tensor,
    one_to_one: Sequence[tuple[int, int]],
    names: tuple[Names, Names],
    *,
    top_k: int = 0,
    chosen_by: str = "teacher",
    name: str = "reverse",
    mix: float = 0.5,
) -> Tensor:
    """The sum over 1:1 chunks: probabilities [tokens, V] of each side, and the token of each chunk on each side."""
    total = student.new_zeros(())
    for row, their_row in one_to_one:
        ours, theirs = scores(student[row], names[0]), scores(teacher[their_row], names[1])
        if top_k and chosen_by == "student":
            kept = sorted(ours, key=lambda key: float(ours[key].detach()), reverse=True)[:top_k]
        elif top_k:
            named = set(teacher[their_row].argsort(descending=True)[:top_k].tolist())
            some = {key: [k for k in ids if k in named] for key, ids in names[1].items()}
            theirs = scores(teacher[their_row], {key: ids for key, ids in some.items() if ids})
            kept = list(theirs)
        else:
            kept = list(ours)
        if kept:
            total = total + divergence({key: ours[key] for key in kept}, {key: theirs[key] for key in kept}, name, mix)
    return total
