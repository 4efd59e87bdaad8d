"""Ids that a student may have sampled: a text in its own tokens, canonical or not."""

import random
from collections.abc import Iterator

import numpy as np

from crossdistill import ByteVocab
from tests.matrix.corpus import Case

_SHARE_SPLIT = 0.4


class Sampler:
    """Student ids for the cases of the matrix; the same on every run."""

    def __init__(self, vocab: ByteVocab):
        self._vocab = vocab
        self._id_of = {piece: index for index, piece in reversed([*enumerate(vocab.pieces)]) if piece}

    def responses(self, case: Case) -> Iterator[np.ndarray]:
        """The canonical ids (without unknown tokens, which carry no bytes), and for short cases ids split at random."""
        ids = self._vocab.encode(case.data).ids
        canonical = ids[self._vocab.lengths[ids] > 0]
        yield canonical
        if not case.is_long:
            yield self._split(canonical, random.Random(f"{case.group}/{case.name}"))

    def _split(self, ids: np.ndarray, chance: random.Random) -> np.ndarray:
        parts: list[int] = []
        for index in ids.tolist():
            piece = self._vocab.pieces[index]
            cut = chance.randrange(1, len(piece)) if len(piece) > 1 and chance.random() < _SHARE_SPLIT else 0
            halves = (self._id_of.get(piece[:cut]), self._id_of.get(piece[cut:]))
            parts += [half for half in halves if half is not None] if cut and None not in halves else [index]
        return np.array(parts, dtype=np.int64)
