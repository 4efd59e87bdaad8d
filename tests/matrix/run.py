"""Every ordered pair of tokenizers over every case."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from crossdistill import ByteVocab
from crossdistill.tokens import Encoding
from tests.matrix import truth
from tests.matrix.corpus import Case
from tests.matrix.gold import Gold, GoldScore
from tests.matrix.loading import Real
from tests.matrix.ours import Score, score
from tests.matrix.sampling import Sampler


@dataclass
class Both:
    """Scores of crossdistill and of GOLD over the same responses."""

    ours: Score = field(default_factory=Score)
    gold: GoldScore = field(default_factory=GoldScore)
    responses: int = 0

    def add(self, other: "Both") -> None:
        self.ours.add(other.ours)
        self.gold.add(other.gold)
        self.responses += other.responses


class Key(NamedTuple):
    """The subject of a score: one text (its group and name) of a student under a teacher."""

    student: str
    teacher: str
    group: str
    name: str


@dataclass
class Matrix:
    """Scores of every pair and text, descriptions of the faults, and the seconds that it took."""

    scores: dict[Key, Both] = field(default_factory=lambda: defaultdict(Both))
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def by(self, label: Callable[[Key], str | None]) -> dict[str, Both]:
        """Sums of the scores with the same label; scores without a label are left out."""
        sums: dict[str, Both] = defaultdict(Both)
        for key, both in self.scores.items():
            name = label(key)
            if name is not None:
                sums[name].add(both)
        return sums

    def total(self, is_meant: Callable[[Key], bool] = lambda key: True) -> Both:
        return self.by(lambda key: "" if is_meant(key) else None)[""]


class CachedVocab:
    """A vocabulary that caches its encodings."""

    def __init__(self, vocab: ByteVocab):
        self._vocab = vocab
        self.encode = lru_cache(maxsize=None)(vocab.encode)

    def __getattr__(self, name: str) -> object:
        return getattr(self._vocab, name)


class Side:
    """A tokenizer as a teacher: its encodings, and the truth about them."""

    def __init__(self, vocab: ByteVocab, pieces: list[bytes], rewrite: truth.Rewriter):
        self.vocab = CachedVocab(vocab)
        self._pieces, self._rewrite = pieces, rewrite
        self.truth = lru_cache(maxsize=None)(self._truth)

    def _truth(self, data: bytes) -> truth.TrueEnds:
        encoding: Encoding = self.vocab.encode(data)
        spans = [tuple(span) for span in encoding.unencodable_spans.tolist()]
        runs: list[list[bytes]] = [[] for _ in range(len(spans) + 1)]
        unencodable = set(encoding.unencodable_positions.tolist())
        for index, (token, end) in enumerate(zip(encoding.ids.tolist(), encoding.ends.tolist(), strict=True)):
            if index not in unencodable:
                runs[sum(start < end for start, _ in spans)].append(self._pieces[token])
        return truth.true_ends(data, runs, spans, self._rewrite)


def run(reals: dict[str, Real], cases: list[Case]) -> Matrix:
    """Run the whole matrix."""
    start = time.perf_counter()
    rewriters = {name: truth.rewriter_of(real) for name, real in reals.items()}
    sides = {name: Side(real.vocab, real.pieces, rewriters[name]) for name, real in reals.items()}
    gold = Gold(reals, rewriters)
    matrix = Matrix()
    for student, real in reals.items():
        responses = list(_responses(real.vocab, cases))
        for teacher, side in sides.items():
            for case, ids in responses:
                both = _one(real.vocab, student, ids, teacher, side, gold)
                if isinstance(both, str) or not both.ours.is_perfect:
                    what = both if isinstance(both, str) else str(both.ours)
                    matrix.faults.append(f"{student} under {teacher}, {case.group}/{case.name}: {what}")
                if isinstance(both, Both):
                    matrix.scores[Key(student, teacher, case.group, case.name)].add(both)
    matrix.seconds = time.perf_counter() - start
    return matrix


def _responses(vocab: ByteVocab, cases: list[Case]) -> Iterator[tuple[Case, np.ndarray]]:
    sampler = Sampler(vocab)
    for case in cases:
        for ids in sampler.responses(case):
            yield case, ids


def _one(vocab: ByteVocab, student: str, ids: np.ndarray, teacher: str, side: Side, gold: Gold) -> Both | str:
    """The scores of one response, or a description of the fault in the teacher's encoding."""
    data = vocab.decode(ids)
    try:
        expected = side.truth(data)
    except AssertionError as error:
        return str(error)
    ours = score(vocab, ids, side.vocab, expected)  # type: ignore[arg-type]
    theirs = gold.score(student, ids.tolist(), data, teacher)
    theirs.true = 0 if theirs.refused else ours.true
    return Both(ours, theirs, responses=1)
