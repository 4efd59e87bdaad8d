"""The slow obvious twin of the escd loss (2609.34738): a root at each chunk's start and its child, in plain Python.

One response at a time, with the texts, targets and columns of `tests.oracles.bpm`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.oracles.bpm import OTHER, Text, target


def written(text: Text, side: str) -> list[tuple[int, bytes]]:
    """The ids of a side that carry bytes, with these."""
    pieces, stops = getattr(text, f"{side}_pieces"), getattr(text, f"{side}_stops")
    return [(token, piece) for token, piece in enumerate(pieces) if piece and token not in stops]


def root(text: Text, log_probs: Tensor, probs: Tensor, theirs: range, ahead: bytes) -> Tensor:
    """KL of the target from the student at one position."""
    ours, wanted = text.columns(log_probs), target(text, probs, theirs, b"", ahead)
    named = [column for column in wanted if column != OTHER]
    left = [value for column, value in ours.items() if column not in named]
    pairs = [(wanted[column], ours[column]) for column in named]
    pairs.append((wanted.get(OTHER, torch.zeros(()).double()), sum(left, torch.zeros(()).double())))
    return sum((q * (q / p).log() for q, p in pairs if q > 0), torch.zeros(()).double())


def unfinished(text: Text, begun: bytes, events: str) -> list[tuple[int, bytes]]:
    """T(s): the teacher's ids, and the rest of the bytes of each."""
    ours = [piece for _, piece in written(text, "student")]
    found = []
    for token, piece in written(text, "teacher"):
        if not piece.startswith(begun) or piece == begun:
            continue
        if events == "all" or max((p for p in ours if piece.startswith(p)), key=len) == begun:
            found.append((token, piece[len(begun) :]))
    return found


def completed(text: Text, log_probs: Tensor, row: int, rest: bytes, several: bool) -> Tensor | None:
    """The probability that the student goes on with `rest`; None if no way to do so is known."""
    if row == len(text.student):
        return None
    ids = [token for token, piece in written(text, "student") if piece.startswith(rest)]
    found = log_probs[row, ids].exp().sum() if ids else None
    is_stop = text.stopped and row == len(text.student) - 1
    piece = b"" if is_stop else text.student_pieces[text.student[row]]
    if several and piece and rest.startswith(piece) and rest != piece:
        later = completed(text, log_probs, row + 1, rest[len(piece) :], several)
        if later is not None:
            found = (0 if found is None else found) + log_probs[row, text.student[row]].exp() * later
    return found


def child(text: Text, log_probs: Tensor, probs: Tensor, token: int, options: dict[str, object]) -> Tensor:
    """The child of one student token; probs: of the teacher at the root, [V_T]."""
    total = torch.zeros((), dtype=torch.float64)
    if token == len(text.student) - 1:
        return total
    events = unfinished(text, text.student_pieces[text.student[token]], str(options["events"]))
    mass = sum(probs[t] for t, _ in events) if options["normalise"] else 1.0
    for t, rest in events:
        found = completed(text, log_probs, token + 1, rest, options["completion"] == "several_tokens")
        if found is not None and probs[t] > 0:
            total = total - probs[t] / mass * found.log()
    return total


def loss(
    text: Text,
    student: Tensor,
    teacher: Tensor,
    *,
    completion: str = "one_token",
    events: str = "routed",
    normalise: bool = False,
    child_weight: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """The sum over chunks; logits [n, V_S] and [m, V_T]."""
    log_probs = torch.log_softmax(student / temperature, -1)
    probs = torch.softmax(teacher / temperature, -1).detach()
    options = {"completion": completion, "events": events, "normalise": normalise}
    total = torch.zeros((), dtype=torch.float64)
    places: Sequence[tuple[int, range, bytes]] = [(ours[0], theirs, data) for ours, theirs, data in text.chunks()]
    for token, theirs, data in places:
        total = total + root(text, log_probs[token], probs, theirs, data)
        total = total + child_weight * child(text, log_probs, probs[theirs[0]], token, options)
    if text.stopped:
        last = len(text.teacher) - 1
        total = total + root(text, log_probs[-1], probs, range(last, last + 1), b"")
    return total
