"""Compares crossdistill's chunks with the truth, for one case of the matrix."""

from dataclasses import dataclass

import numpy as np

from crossdistill import ByteVocab
from crossdistill.paired import PairedTokenization
from tests.matrix import truth
from tests.matrix.truth import Span


@dataclass
class Score:
    """Counts of boundaries and bytes; a boundary closes a chunk that both sides encode completely.

    Attributes:
        true: true boundaries.
        found: true boundaries that were found.
        wrong: other boundaries that were found.
        total: bytes.
        lost: bytes of chunks that touch an unencodable span.
        unaccounted: bytes that are neither supervised nor lost, or both.
    """

    true: int = 0
    found: int = 0
    wrong: int = 0
    total: int = 0
    lost: int = 0
    unaccounted: int = 0

    def add(self, other: "Score") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def is_perfect(self) -> bool:
        return self.found == self.true and self.wrong == self.unaccounted == 0


def spans_of(paired: PairedTokenization, student_ends: np.ndarray) -> list[Span]:
    """The chunks as byte spans of the text, from the positions of their student tokens."""
    ends = student_ends[paired.student_positions]
    splits = paired.alignment.student_splits
    sizes = np.diff(paired.alignment.byte_splits)
    closing = ends[splits[1:] - 1]
    return [(int(end - size), int(end)) for end, size in zip(closing, sizes, strict=True)]


def score(student: ByteVocab, ids: np.ndarray, teacher: ByteVocab, expected: truth.TrueEnds) -> Score:
    """One text of a student under one teacher."""
    paired = PairedTokenization.of(student, ids, teacher)
    ends = student.ends(ids)
    found = spans_of(paired, ends)
    chunks = truth.chunks(ends.tolist(), expected)
    kept = [chunk for chunk in chunks if not truth.is_lost(chunk, expected.spans)]
    dropped = sum(end - start for start, end in set(chunks) - set(kept))
    supervised = sum(end - start for start, end in found)
    return Score(
        true=len(kept),
        found=len(set(kept) & set(found)),
        wrong=len(set(found) - set(kept)),
        total=len(expected.data),
        lost=dropped,
        unaccounted=abs(len(expected.data) - supervised - dropped),
    )
