"""The slow obvious twin of the strict loss (2610.08448): a term at each 1:1 chunk, over all or some candidates."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from tests.oracles.candidates import Names, divergence, scores

TAIL = "everything else"


class Realised(NamedTuple):
    """The teacher's reading of the text.

    Attributes:
        ids: its token in each row.
        stops: its tokens that end a response.
    """

    ids: Sequence[int]
    stops: Sequence[int]


def ranked(probs: Mapping[str, Tensor]) -> list[str]:
    return sorted(probs, key=lambda key: float(probs[key].detach()), reverse=True)


def named_part(names: Names, ids: set[int]) -> Names:
    """The candidates of which some ids are named, with these."""
    some = {key: [k for k in own if k in ids] for key, own in names.items()}
    return {key: own for key, own in some.items() if own}


def known_ids(probs: Tensor, row: int, top_k: int, realised: Realised) -> set[int]:
    """What a server says of a position: its most probable tokens and the realised one; all stops, if it is a stop."""
    found = {*probs.argsort(descending=True)[:top_k].tolist(), realised.ids[row]}
    return found | {*realised.stops} if realised.ids[row] in realised.stops else found


def with_tail(entries: Mapping[str, Tensor], probs: Tensor, names: Names) -> dict[str, Tensor]:
    """The entries, and the sum over all ids that are in none of them."""
    taken = {k for key in entries for k in names[key]}
    return {**entries, TAIL: sum(probs[k] for k in range(len(probs)) if k not in taken)}


def loss(
    student: Tensor,
    teacher: Tensor,
    one_to_one: Sequence[tuple[int, int]],
    names: tuple[Names, Names],
    realised: Realised,
    *,
    top_k: int = 0,
    chosen_by: str = "teacher",
    tail: bool = False,
    teacher_top_k: int = 0,
    name: str = "reverse",
    mix: float = 0.5,
) -> Tensor:
    """The sum over 1:1 chunks: probabilities [tokens, V] of each side, and the token of each chunk on each side."""
    total = student.new_zeros(())
    for row, their_row in one_to_one:
        ours, probs, their_names = scores(student[row], names[0]), teacher[their_row], names[1]
        kept = list(ours)
        if top_k and chosen_by == "student":
            kept = ranked(ours)[:top_k]
            if teacher_top_k:
                their_names = named_part(their_names, known_ids(probs, their_row, teacher_top_k, realised))
        elif top_k:
            their_names = named_part(their_names, set(probs.argsort(descending=True)[:top_k].tolist()))
        theirs = scores(probs, their_names)
        kept = [key for key in kept if key in theirs]
        sides = {key: ours[key] for key in kept}, {key: theirs[key] for key in kept}
        if tail:
            sides = with_tail(sides[0], student[row], names[0]), with_tail(sides[1], probs, their_names)
        if sides[0]:
            total = total + divergence(*sides, name, mix)
    return total
