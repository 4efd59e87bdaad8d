"""Byte-prefix targets, marginal credit and the bpm loss by enumerating what a teacher may write next, in plain Python.

One response at a time. Probabilities are float64 tensors with one row per token; `Text` holds everything else.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STOP, OTHER = "stop", "other"
Column = bytes | str
"""A student's next token: some bytes, its stop, or anything else."""


@dataclass(frozen=True)
class Text:
    """A response and both vocabularies.

    Attributes:
        student: the student's token ids, stops included.
        teacher: the teacher's token ids, stops included.
        student_pieces: bytes of every id of the student.
        teacher_pieces: bytes of every id of the teacher.
        student_stops: the student's ids that end a response.
        teacher_stops: the teacher's ids that end a response.
        stopped: whether the last token of both is a stop.
    """

    student: Sequence[int]
    teacher: Sequence[int]
    student_pieces: Sequence[bytes]
    teacher_pieces: Sequence[bytes]
    student_stops: Sequence[int]
    teacher_stops: Sequence[int]
    stopped: bool

    def token_bytes(self, side: str) -> list[bytes]:
        """The bytes of each token of a side, without the stop."""
        ids, pieces = getattr(self, side), getattr(self, f"{side}_pieces")
        return [pieces[k] for k in ids[: len(ids) - self.stopped]]

    def chunks(self) -> list[tuple[range, range, bytes]]:
        """Student tokens, teacher tokens and bytes of each chunk, from one shared byte end to the next."""
        student, teacher = self.token_bytes("student"), self.token_bytes("teacher")
        found, i, j = [], 0, 0
        while i < len(student):
            first = i, j
            i, j = i + 1, j + 1
            while len(ours := b"".join(student[first[0] : i])) != len(theirs := b"".join(teacher[first[1] : j])):
                i, j = (i + 1, j) if len(ours) < len(theirs) else (i, j + 1)
            found.append((range(first[0], i), range(first[1], j), ours))
        return found

    def columns(self, log_probs: Tensor) -> dict[Column, Tensor]:
        """The student's probability of each byte string, of its stop, and of each other token."""
        found: dict[Column, Tensor] = {}
        for token, piece in enumerate(self.student_pieces):
            column = STOP if token in self.student_stops else piece or f"control {token}"
            found[column] = found.get(column, torch.zeros((), dtype=torch.float64)) + log_probs[token].exp()
        return found


def prefix_probability(probs: Tensor, text: Text, begin: bytes) -> Tensor:
    """Probability of the tokens that begin with these bytes; stop tokens do not count."""
    ids = [k for k, piece in enumerate(text.teacher_pieces) if piece.startswith(begin) and k not in text.teacher_stops]
    return probs[[k for k in ids if text.teacher_pieces[k]]].sum()


# ---- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """A possible continuation by the teacher.

    Attributes:
        token: its first token.
        data: its bytes after those already read, None for no bytes.
        on_path: whether it begins with the first of the realised tokens.
        probability: its probability.
    """

    token: int
    data: bytes | None
    on_path: bool
    probability: Tensor


def events(text: Text, probs: Tensor, tokens: range, read: bytes) -> Iterator[Event]:
    """All continuations at the first of some teacher tokens of a chunk, of which `read` is already written."""
    first = tokens[0]
    for token, piece in enumerate(text.teacher_pieces):
        silent = not piece or token in text.teacher_stops
        if silent and not read:
            yield Event(token, None, False, probs[first, token])
        if silent or not piece.startswith(read):
            continue
        data = piece[len(read) :]
        if token == text.teacher[first] and len(tokens) > 1:
            for later in events(text, probs, tokens[1:], b""):
                yield Event(token, data + (later.data or b""), True, probs[first, token] * later.probability)
        else:
            yield Event(token, data, False, probs[first, token])


def target(text: Text, probs: Tensor, tokens: range, read: bytes, ahead: bytes) -> dict[Column, Tensor]:
    """Probability of each column; `ahead` is the text from here to the end of the chunk."""
    pieces = [p for k, p in enumerate(text.student_pieces) if p and k not in text.student_stops]
    left = len(text.teacher_pieces[text.teacher[tokens[0]]]) - len(read)
    total, found = torch.zeros((), dtype=torch.float64), {}
    for event in events(text, probs, tokens, read):
        total = total + event.probability
        if event.data is None:
            taught = event.token in text.teacher_stops and text.student_stops
            column: Column = STOP if taught else OTHER
        else:
            fitting = [p for p in pieces if event.data.startswith(p)]
            if event.on_path:  # beyond its first token, only along the text
                fitting = [p for p in fitting if len(p) <= left or ahead.startswith(p)]
            column = max(fitting, key=len, default=OTHER)
        found[column] = found.get(column, 0) + event.probability
    if not total > 0:  # the teacher rules out the bytes read so far
        return {column: (total if column != OTHER else total + 1) for column in [*found, OTHER]}
    return {column: value / total for column, value in found.items()}


def positions(text: Text) -> Iterator[tuple[int, range, bytes, bytes]]:
    """For each student token: its number, the teacher tokens from the one in which it begins, the bytes already read
    of that one, and the rest of the chunk."""
    teacher = text.token_bytes("teacher")
    for ours, theirs, data in text.chunks():
        start = 0
        for token in ours:
            first = begun = 0
            while begun + len(teacher[theirs[first]]) <= start:
                begun, first = begun + len(teacher[theirs[first]]), first + 1
            yield token, theirs[first:], data[begun:start], data[start:]
            start += len(text.student_pieces[text.student[token]])
    if text.stopped:
        last = len(text.teacher) - 1
        yield len(text.student) - 1, range(last, last + 1), b"", b""


Divergence = Callable[[Tensor, Tensor], Tensor]
"""(student's probabilities [K], teacher's [K], mix) -> nats."""


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return sum(a * (a / b).log() for a, b in zip(p, q, strict=True) if a > 0)


DIVERGENCES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "forward": lambda p, q, mix: _kl(q, p),
    "jsd": lambda p, q, mix: mix * _kl(q, mix * q + (1 - mix) * p) + (1 - mix) * _kl(p, mix * q + (1 - mix) * p),
    "skew_forward": lambda p, q, mix: _kl(q, mix * q + (1 - mix) * p),
    "skew_reverse": lambda p, q, mix: _kl(p, mix * p + (1 - mix) * q),
}


def loss(text: Text, student: Tensor, teacher: Tensor, name: str, mix: float, temperature: float = 1.0) -> Tensor:
    """The sum over student tokens; logits [n, V_S] and [m, V_T]."""
    log_probs = torch.log_softmax(student / temperature, -1)
    probs = torch.softmax(teacher / temperature, -1).detach()
    total = torch.zeros((), dtype=torch.float64)
    for token, tokens, read, ahead in positions(text):
        theirs = target(text, probs, tokens, read, ahead)
        ours = text.columns(log_probs[token])
        named = [column for column in theirs if column != OTHER]
        rest = sum((value for column, value in ours.items() if column not in named), torch.zeros(()).double())
        p = torch.stack([*(ours[column] for column in named), rest])
        q = torch.stack([*(theirs[column] for column in named), theirs.get(OTHER, torch.zeros(()).double())])
        total = total + DIVERGENCES[name](p, q, mix)
    return total


# ---- credit ----------------------------------------------------------------------------------------------------------


def scores(text: Text, teacher: Tensor) -> list[float]:
    """The teacher's log-probability of each student token, from its logits [m, V_T]."""
    probs = torch.softmax(teacher, -1)
    pieces, found = text.token_bytes("teacher"), []
    for ours, theirs, _ in text.chunks():
        before = 0.0
        end = 0
        for token in ours:
            end += len(text.student_pieces[text.student[token]])
            read, logprob = 0, 0.0
            for j in theirs:
                if read + len(pieces[j]) <= end:
                    logprob += probs[j, text.teacher[j]].log().item()
                    read += len(pieces[j])
                else:
                    begun = pieces[j][: end - read]
                    logprob += prefix_probability(probs[j], text, begun).log().item() if begun else 0.0
                    break
            found.append(logprob - before)
            before = logprob
    if text.stopped:
        found.append(math.log(probs[-1, list(text.teacher_stops)].sum()))
    return found
