"""The slow obvious twin of the cdm loss: whole matrices, one response, one cell, one token after the other.

The path is that of the whole response at once, over all pairs of tokens; a forbidden pair has an infinite cost.
Probabilities are dictionaries by token id.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

STOP = "stop"
Name = bytes | str
FLOOR = -100.0


class Side(NamedTuple):
    """One response in one model's tokens.

    Attributes:
        logits: [tokens, V].
        ids: the realised tokens.
        splits: the tokens of each chunk.
        pieces: bytes of every token id.
        stops: the ids that end a response.
    """

    logits: Tensor
    ids: Sequence[int]
    splits: Sequence[int]
    pieces: Sequence[bytes]
    stops: Sequence[int]

    def name(self, token: int) -> Name | None:
        return STOP if token in self.stops else self.pieces[token] or None

    def named(self, name: Name) -> list[int]:
        return [token for token in range(len(self.pieces)) if self.name(token) == name]

    def chunk_of(self, token: int) -> int:
        return sum(split <= token for split in self.splits) - 1


@cache
def levenshtein(a: bytes, b: bytes) -> int:
    if not a or not b:
        return len(a) + len(b)
    swapped = levenshtein(a[1:], b[1:]) + (a[0] != b[0])
    return min(swapped, levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1)


def edit(a: bytes, b: bytes) -> int:
    return levenshtein(a.replace(b" ", b""), b.replace(b" ", b""))


def distance(a: bytes, b: bytes) -> float:
    total = len(a.replace(b" ", b"")) + len(b.replace(b" ", b""))
    return edit(a, b) / total if total else 0.0


def weights(entropies: Sequence[float]) -> list[float]:
    low, high = min(entropies), max(entropies)
    scaled = [(value - low) / (high - low) if high > low else 0.0 for value in entropies]
    return [3 + 3 / (1 + math.exp(-(4 * h - 2))) for h in scaled]


def known_entropy(log_probs: Sequence[float]) -> float:
    """The entropy of some outcomes and of all others as one."""
    probs = [math.exp(value) for value in log_probs]
    rest = max(0.0, 1 - sum(probs))
    return -sum(p * math.log(p) for p in [*probs, rest] if p > 0)


def top(log_probs: dict[int, float], k: int) -> dict[int, float]:
    return dict(sorted(log_probs.items(), key=lambda item: -item[1])[:k])


def path(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """The cheapest path from the first cell to the last; ties go to a step on both sides, then to one of the rows."""
    best = [[math.inf] * (len(costs[0]) + 1) for _ in range(len(costs) + 1)]
    best[0][0] = 0.0
    for i in range(len(costs)):
        for j in range(len(costs[0])):
            best[i + 1][j + 1] = costs[i][j] + min(best[i][j], best[i][j + 1], best[i + 1][j])
    i, j, found = len(costs), len(costs[0]), []
    while i and j:
        found.append((i - 1, j - 1))
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(steps, key=lambda at: best[at[0]][at[1]])
    return found[::-1]


def allowed(student: Side, teacher: Side, band: int) -> list[list[bool]]:
    """Pairs (teacher, student) of one chunk, at most `band` student tokens from one that shares a byte."""
    spans = []
    for side in (teacher, student):
        sizes = [len(side.pieces[token]) or 1 for token in side.ids]
        spans.append([(sum(sizes[:k]), sum(sizes[: k + 1])) for k in range(len(sizes))])
    table = []
    for i, (begin, end) in enumerate(spans[0]):
        sharing = [j for j, (first, last) in enumerate(spans[1]) if first < end and begin < last]
        same = [teacher.chunk_of(i) == student.chunk_of(j) for j in range(len(spans[1]))]
        table.append([same[j] and any(abs(j - k) <= band for k in sharing) for j in range(len(same))])
    return table


def mean(tops: Sequence[dict[int, float]], shares: Sequence[float], k: int) -> dict[int, float]:
    tokens = sorted({token for each in tops for token in each})
    return top(
        {
            token: sum(share * each.get(token, min(each.values())) for each, share in zip(tops, shares, strict=True))
            for token in tokens
        },
        k,
    )


def mapping(
    student: Side, teacher: Side, ours: dict[int, float], theirs: dict[int, float], max_distance: float
) -> dict[Name, Name]:
    """Teacher's name -> student's name, of the names among the teacher's top k."""
    names = list(dict.fromkeys(name for token in theirs if (name := teacher.name(token)) is not None))
    found: dict[Name, Name] = {name: name for name in names if student.named(name)}
    for name in names:
        if name in found or name == STOP:
            continue
        candidates = [student.name(token) for token in ours]
        free = [other for other in candidates if other not in (None, STOP, *found.values())]
        near = [other for other in free if distance(name, other) < max_distance]
        if near:
            found[name] = min(near, key=lambda other: distance(name, other))
    return found


def groups(student: Side, teacher: Side, tops: list[list[dict[int, float]]], entropy: list[float], band: int):
    """(student tokens, {teacher token: weight}) in order, by the released code's way of merging."""
    factors = weights([known_entropy(list(each.values())) for each in tops[1]]), weights(entropy)
    may = allowed(student, teacher, band)
    costs = [
        [
            factors[0][i] * factors[1][j] * edit(teacher.pieces[t], student.pieces[s]) if may[i][j] else math.inf
            for j, s in enumerate(student.ids)
        ]
        for i, t in enumerate(teacher.ids)
    ]
    pairs = path(costs)
    of_teacher = [[j for i, j in pairs if i == t] for t in range(len(teacher.ids))]
    of_student = [[i for i, j in pairs if j == s] for s in range(len(student.ids))]
    merged: list[tuple[list[int], dict[int, float]]] = []
    for students in of_teacher:
        if students in [done for done, _ in merged]:
            continue
        shares: dict[int, float] = {}
        for s in students:
            for t in of_student[s]:
                shares[t] = shares.get(t, 0.0) + 1 / len(students) / len(of_student[s])
        merged.append((students, shares))
    return merged


def loss(
    student: Side, teacher: Side, *, top_k: int, max_distance: float, name: str, temperature: float, band: int = 8
) -> Tensor:
    """The loss of one response."""
    total = student.logits.sum() * 0
    if not student.ids:
        return total
    log_probs = [side.logits.log_softmax(-1).detach().tolist() for side in (student, teacher)]
    tops = [[top(dict(enumerate(row)), top_k) for row in rows] for rows in log_probs]
    entropy = [-sum(math.exp(value) * value for value in row) for row in log_probs[0]]
    found = groups(student, teacher, tops, entropy, band)
    chunks = [student.chunk_of(members[0]) for members, _ in found]
    for (members, shares), chunk in zip(found, chunks, strict=True):
        ours = mean([tops[0][k] for k in members], [1 / len(members)] * len(members), top_k)
        theirs = mean([tops[1][k] for k in shares], list(shares.values()), top_k)
        mapped = mapping(student, teacher, ours, theirs, max_distance)
        if not mapped:
            continue
        mixed = torch.stack([student.logits[k] for k in members]).mean(0)
        scores = torch.stack([mixed[student.named(other)].logsumexp(0) for other in mapped.values()])
        kept = [
            torch.tensor([theirs[token] for token in theirs if teacher.name(token) == own], dtype=scores.dtype)
            for own in mapped
        ]
        p = (torch.stack([values.logsumexp(0) for values in kept]) / temperature).log_softmax(0)
        q = (scores / temperature).log_softmax(0)
        first, second = (p, q) if name == "forward" else (q, p)
        total = total + (first.exp() * (first - second)).sum() / chunks.count(chunk)
    return total
