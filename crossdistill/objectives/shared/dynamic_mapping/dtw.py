"""Entropy-weighted dynamic time warping of two tokenisations (CDM, Chen et al., 2502.11104).

    cost(i, j) = w_T(i) w_S(j) edit(t_i, s_j),     w = 3 + 3 sigmoid(4 h - 2),
    h = (H - min H) / (max H - min H)  over the response's tokens, H the entropy of the distribution at the token.

A path goes from the first pair of tokens to the last by steps of one token on either side or on both, and has the least
sum of costs. Here it passes through every synchronisation point: it is searched inside each minimal chunk, whose ends
are known to match, and inside a chunk within `BAND` tokens of the pairs that share a byte. That makes it linear in the
number of tokens; a chunk of up to `BAND` tokens on each side is searched completely.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from crossdistill.align import Alignment
from crossdistill.objectives.shared.dynamic_mapping.edit_distance import ByteStrings, edit_distances

BAND = 8
_DIAGONAL, _TEACHER, _STUDENT = range(3)  # ties go to the first


class TokenSequence(NamedTuple):
    """One side's N realised tokens.

    Attributes:
        strings: their bytes, without spaces.
        ends: int64 [N], their byte ends.
        weights: float64 [N].
    """

    strings: ByteStrings
    ends: np.ndarray
    weights: np.ndarray


class TokenGroup(NamedTuple):
    """Tokens that are compared as one.

    Attributes:
        chunk: their chunk.
        student: the student's tokens.
        teacher: the teacher's tokens.
        teacher_weights: the weights of the teacher's tokens; they sum to 1.
    """

    chunk: int
    student: list[int]
    teacher: list[int]
    teacher_weights: list[float]


def entropy_weights(entropy: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """The weight w of each token; if all entropies of a response are equal, so are its weights.

    Args:
        entropy: nats, [N].
        splits: int64 [B + 1], the tokens of each response.

    Returns:
        float64 [N].
    """
    weights = np.full(len(entropy), 3.0)
    for first, stop in pairwise(splits.tolist()):
        values = entropy[first:stop].astype(np.float64)
        if len(values):
            spread = values.max() - values.min()
            scaled = (values - values.min()) / (spread if spread > 0 else 1.0)
            weights[first:stop] += 3 / (1 + np.exp(2 - 4 * scaled))
    return weights


def group_tokens(alignment: Alignment, student: TokenSequence, teacher: TokenSequence) -> list[TokenGroup]:
    """The groups of all chunks, in order."""
    groups: list[TokenGroup] = []
    spans = zip(pairwise(alignment.student_splits.tolist()), pairwise(alignment.teacher_splits.tolist()), strict=True)
    for chunk, (student_span, teacher_span) in enumerate(spans):
        ours, theirs = list(range(*student_span)), list(range(*teacher_span))
        if len(ours) == 1 or len(theirs) == 1:  # there is one path
            groups.append(TokenGroup(chunk, ours, theirs, [1 / len(theirs)] * len(theirs)))
        else:
            groups += groups_of_path(chunk, _path(student, teacher, ours, theirs))
    return groups


def groups_of_path(chunk: int, path: Sequence[tuple[int, int]]) -> list[TokenGroup]:
    """The groups of a path of (teacher, student) pairs: one for each distinct set of student tokens of a teacher token.

    The teacher's side is the mean over these student tokens of the mean over the teacher tokens of each.
    """
    of_teacher: dict[int, list[int]] = {}
    of_student: dict[int, list[int]] = {}
    for theirs, ours in path:
        of_teacher.setdefault(theirs, []).append(ours)
        of_student.setdefault(ours, []).append(theirs)
    groups = []
    for students in dict.fromkeys(map(tuple, of_teacher.values())):
        weights: dict[int, float] = {}
        for ours in students:
            for theirs in of_student[ours]:
                weights[theirs] = weights.get(theirs, 0.0) + 1 / len(students) / len(of_student[ours])
        groups.append(TokenGroup(chunk, list(students), list(weights), list(weights.values())))
    return groups


def _path(
    student: TokenSequence, teacher: TokenSequence, ours: Sequence[int], theirs: Sequence[int]
) -> list[tuple[int, int]]:
    """The cheapest path through a chunk, as (teacher, student) pairs."""
    low, high = _band(student.ends, teacher.ends, ours, theirs)
    cells = [(row, column) for row in range(len(theirs)) for column in range(low[row], high[row] + 1)]
    rows, columns = np.array(cells, dtype=np.int64).T
    distances = edit_distances(teacher.strings, student.strings, rows + theirs[0], columns + ours[0])
    costs = teacher.weights[rows + theirs[0]] * student.weights[columns + ours[0]] * distances
    best: dict[tuple[int, int], float] = {(-1, -1): 0.0}
    moves: dict[tuple[int, int], int] = {}
    for cell, cost in zip(cells, costs.tolist(), strict=True):
        row, column = cell
        before = [best.get(at, np.inf) for at in ((row - 1, column - 1), (row - 1, column), (row, column - 1))]
        moves[cell] = min(range(3), key=before.__getitem__)
        best[cell] = cost + before[moves[cell]]
    row, column = len(theirs) - 1, len(ours) - 1
    path = []
    while row >= 0:
        path.append((theirs[0] + row, ours[0] + column))
        move = moves[row, column]
        row, column = row - (move != _STUDENT), column - (move != _TEACHER)
    return path[::-1]


def _band(
    student_ends: np.ndarray, teacher_ends: np.ndarray, ours: Sequence[int], theirs: Sequence[int]
) -> tuple[list[int], list[int]]:
    """For each teacher token of a chunk, the first and the last student token that the path may pair it with."""
    ends = student_ends[ours[0] : ours[-1] + 1]
    own = teacher_ends[theirs[0] : theirs[-1] + 1]
    first = np.searchsorted(ends, np.append(-1, own[:-1]), side="right")  # holds the first byte of the teacher's token
    last = np.searchsorted(ends, own, side="left")  # holds its last byte
    high = np.minimum(last + BAND, len(ours) - 1)
    high[-1] = len(ours) - 1
    low = np.maximum(first - BAND, 0)
    return np.minimum(low, np.append(0, high[:-1] + 1)).tolist(), high.tolist()  # tokens without bytes leave no gap
