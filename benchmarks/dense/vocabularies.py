"""Made-up vocabularies of a given size that share most of the smaller one's entries, and text that both can encode.

Entries are made as BPE makes them, from two shorter ones; those of one side alone from two shared ones, so that one
token of one side is several tokens of the other. Ids are in random order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TypeVar

from crossdistill import ByteVocab
from crossdistill.objectives import VocabPair
from crossdistill.tokens.source import ByteSource, VocabEntries, byte_ids_of

Item = TypeVar("Item")

SHARED = 0.68
"""Share of the smaller vocabulary that both have; SmolLM2 and Qwen3, Llama 3 and Qwen3 share 0.6 to 0.85."""
CONTROL = 16
"""Ids without bytes on each side; the first one ends a response."""
KINDS = (("1:1", 0.76), ("1:2", 0.1), ("2:1", 0.1), ("2:2", 0.04))
"""Chunks by their numbers of student and teacher tokens, and the probability of each."""
LONGEST = 14


class LongestMatch(ByteSource):
    """Entries of bytes, encoded by the longest match."""

    def __init__(self, pieces: list[bytes]):
        self.entries = VocabEntries("made_up", pieces, byte_ids_of(pieces))
        self._ids = {piece: token_id for token_id, piece in enumerate(pieces) if piece}
        self._longest = max(map(len, pieces))

    def ids(self, text: str) -> list[int]:
        return self.merged(text.encode())

    def merged(self, data: bytes) -> list[int]:
        ids, start = [], 0
        while start < len(data):
            piece = next(
                data[start:stop]
                for stop in range(min(len(data), start + self._longest), start, -1)
                if data[start:stop] in self._ids
            )
            ids.append(self._ids[piece])
            start += len(piece)
        return ids


@dataclass(frozen=True)
class MadeUp:
    """Two vocabularies and the pieces of which text is made.

    Attributes:
        pair: both vocabularies.
        shared: shared pieces of letters, the shortest first.
        student_only: (first part, second part) of the student's own pieces; both parts are shared.
        teacher_only: the same of the teacher.
    """

    pair: VocabPair
    shared: Sequence[bytes]
    student_only: Sequence[tuple[bytes, bytes]]
    teacher_only: Sequence[tuple[bytes, bytes]]

    def text(self, num_tokens: int, rng: Random) -> tuple[list[bytes], list[bytes]]:
        """A text as `num_tokens` tokens of the student, and as tokens of the teacher."""
        names, weights = zip(*KINDS, strict=True)
        sides: tuple[list[bytes], list[bytes]] = [], []
        while len(sides[0]) < num_tokens:
            kind = rng.choices(names, weights)[0]
            if len(sides[0]) + int(kind[0]) <= num_tokens:
                for side, chunk in zip(sides, self._chunk(kind, rng), strict=True):
                    side.extend(chunk)
        return sides

    def _chunk(self, kind: str, rng: Random) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Tokens of both sides; 1:1 if the vocabularies have no chunk of that kind."""
        if kind == "1:2" and self.student_only:
            parts = _early(self.student_only, rng)
            return [b"".join(parts)], parts
        if kind == "2:1" and self.teacher_only:
            parts = _early(self.teacher_only, rng)
            return parts, [b"".join(parts)]
        if kind == "2:2" and self.crossing:
            first, second, third = _early(self.crossing, rng)
            return [first + second, third], [first, second + third]
        piece = _early(self.shared, rng)
        return [piece], [piece]

    @cached_property
    def crossing(self) -> Sequence[tuple[bytes, bytes, bytes]]:
        """a, b, c such that ab is an entry of the student alone and bc one of the teacher alone."""
        third = dict(self.teacher_only)
        return [(first, second, third[second]) for first, second in self.student_only if second in third]


def make_up(student_size: int, teacher_size: int, seed: int = 0) -> MadeUp:
    """Vocabularies of these sizes, at least about 1,000 each; the same ones for the same seed."""
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    shared = _shared(round(SHARED * (min(student_size, teacher_size) - CONTROL)), rng)
    words = shared[256 - 27 :]  # without the bytes that are not letters
    taken = set(shared)
    sides = [_own(size - CONTROL - len(shared), words, taken, rng) for size in (student_size, teacher_size)]
    vocabs = []
    for own in sides:
        pieces = [*shared, *map(b"".join, own)]
        rng.shuffle(pieces)
        vocabs.append(ByteVocab(LongestMatch([b""] * CONTROL + pieces)))
    return MadeUp(VocabPair(*vocabs, (0,), (0, 1)), words, *sides)


def one_vocabulary(made: MadeUp) -> MadeUp:
    """The student's vocabulary on both sides."""
    student = made.pair.student
    return MadeUp(VocabPair(student, student, (0,), (0,)), made.shared, (), ())


def _shared(number: int, rng: Random) -> list[bytes]:
    letters = [bytes([letter]) for letter in b" abcdefghijklmnopqrstuvwxyz"]
    pieces = [bytes([byte]) for byte in range(256) if bytes([byte]) not in letters] + letters
    grown, inner, taken = list(letters), letters[1:], set(pieces)
    while len(pieces) < number:
        piece = _early(grown, rng) + _early(inner, rng)
        if len(piece) <= LONGEST and piece not in taken:
            taken.add(piece)
            pieces.append(piece)
            grown.append(piece)
            if piece[:1] != b" ":
                inner.append(piece)
    return pieces


def _own(number: int, words: list[bytes], taken: set[bytes], rng: Random) -> list[tuple[bytes, bytes]]:
    own: list[tuple[bytes, bytes]] = []
    inner = [word for word in words if word[:1] != b" "]
    while len(own) < number:
        parts = _early(words, rng), _early(inner, rng)
        piece = b"".join(parts)
        if piece not in taken:
            taken.add(piece)
            own.append(parts)
    return own


def _early(items: Sequence[Item], rng: Random) -> Item:
    """A random item; the first ones are more probable."""
    return items[int(len(items) * rng.random() ** 2)]
