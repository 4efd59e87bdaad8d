"""Dynamic vocabulary mapping: the student token for each token among the teacher's top k (CDM, 2502.11104).

At each position a teacher token is mapped to the student token of the same bytes, if there is one. The others, the most
probable first, are mapped to the nearest (module `edit_distance`) of the tokens among the student's own top k that no
teacher token has taken, if it is nearer than a threshold; among equally near ones, to the more probable. No student
token is taken twice.

Tokens with the same bytes have one *name*; the tokens that end a response have another one. Control tokens have no name
and are left out. Shapes: G positions, k tokens at each, E entries: mapped names at all positions, one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from crossdistill.objectives.shared.dynamic_mapping.edit_distance import (
    ByteStrings,
    edit_distances,
    lower_bounds,
    normalised,
)
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair

_PAIRS_AT_ONCE = 2**21  # pairs of tokens whose distances are bounded together


class TopTokens(NamedTuple):
    """The most probable tokens at G positions, in descending order.

    Attributes:
        ids: int64 [G, k].
        logprobs: nats, float64 [G, k].
    """

    ids: np.ndarray
    logprobs: np.ndarray


class MappedEntries(NamedTuple):
    """The mapped names at all positions.

    Attributes:
        rows: int64 [E], the position of each entry, ascending.
        names: int64 [E], the student's name; each occurs at most once in a row.
        logprobs: float64 [E], the total log-probability of the teacher's tokens that are mapped to it.
        similar: bool [E], whether their bytes differ from the student's.
    """

    rows: np.ndarray
    names: np.ndarray
    logprobs: np.ndarray
    similar: np.ndarray


@dataclass(frozen=True)
class VocabNames:
    """The names of one vocabulary.

    Attributes:
        texts: the bytes of each name; empty for the stop, which comes last if it is taught.
        ids: the token ids of each name.
        of_token: int64 [V], the name of each token id.
        is_named: bool [V], whether a token id has a name.
    """

    texts: Sequence[bytes]
    ids: Sequence[Sequence[int]]
    of_token: np.ndarray
    is_named: np.ndarray

    @classmethod
    def of(cls, size: int, by_text: Mapping[bytes, Sequence[int]], stops: Sequence[int]) -> "VocabNames":
        """The names of a vocabulary of `size` ids, given the ids of each text and those that end a response."""
        ids = [*by_text.values(), *([stops] if stops else [])]
        of_token, is_named = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=bool)
        for name, tokens in enumerate(ids):
            of_token[list(tokens)], is_named[list(tokens)] = name, True
        return cls([*by_text, *([b""] if stops else [])], ids, of_token, is_named)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def strings(self) -> ByteStrings:
        return ByteStrings.of(self.texts)

    @cached_property
    def has_bytes(self) -> np.ndarray:
        """Whether a name is bytes and not the stop, bool [names]."""
        return np.fromiter((len(text) > 0 for text in self.texts), bool, len(self.texts))

    def in_table(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows and names, row by row, of the tokens in a table [G, k] that have a name: [n] each."""
        rows, columns = np.nonzero(self.is_named[ids])
        return rows, self.of_token[ids[rows, columns]]


@dataclass(frozen=True)
class VocabMap:
    """Maps the teacher's tokens to the student's.

    Attributes:
        student: the student's names.
        teacher: the teacher's names.
        exact: int64 [teacher's names], the student's name of the same bytes.
        has_exact: bool [teacher's names], whether there is one.
    """

    student: VocabNames
    teacher: VocabNames
    exact: np.ndarray
    has_exact: np.ndarray

    @cached_property
    def groups(self) -> Groups:
        """The student's token ids of each of its names, as tensors."""
        return Groups.of(self.student.ids)

    def __call__(self, student_ids: np.ndarray, teacher: TopTokens, max_distance: float) -> MappedEntries:
        """Map the teacher's tokens at G positions.

        Args:
            student_ids: int64 [G, k], the student's most probable tokens, in descending order.
            teacher: the teacher's most probable tokens.
            max_distance: only a student token that is nearer counts as similar.
        """
        rows, theirs = self.teacher.in_table(teacher.ids)
        ours, known = self.exact[theirs], self.has_exact[theirs]
        similar = ~known
        for at, name in self._similar(student_ids, rows, theirs, max_distance):
            ours[at], known[at] = name, True
        logprobs = teacher.logprobs[self.teacher.is_named[teacher.ids]]
        keys = rows[known] * len(self.student) + ours[known]
        found, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        total = np.full(len(found), -np.inf)
        np.logaddexp.at(total, inverse, logprobs[known])
        return MappedEntries(rows[known][first], ours[known][first], total, similar[known][first])

    def _similar(
        self, student_ids: np.ndarray, rows: np.ndarray, theirs: np.ndarray, max_distance: float
    ) -> list[tuple[int, int]]:
        """(index into `theirs`, student's name) of each teacher token that gets a similar one."""
        exact = self.has_exact[theirs]
        left = np.flatnonzero(~exact & self.teacher.has_bytes[theirs])
        free_rows, free = self.student.in_table(student_ids)
        taken = np.isin(
            free_rows * len(self.student) + free, rows[exact] * len(self.student) + self.exact[theirs[exact]]
        )
        free_rows, free = (values[~taken & self.student.has_bytes[free]] for values in (free_rows, free))
        strings = self.teacher.strings, self.student.strings
        chosen: dict[tuple[int, int], int] = {}
        used: set[tuple[int, int]] = set()
        for at, candidate in _near(strings, (rows[left], theirs[left]), (free_rows, free), max_distance):
            row, token, name = int(rows[left[at]]), int(theirs[left[at]]), int(free[candidate])
            if (row, token) not in chosen and (row, name) not in used:
                chosen[row, token] = name
                used.add((row, name))
        keys = zip(left.tolist(), rows[left].tolist(), theirs[left].tolist(), strict=True)
        return [(entry, chosen[row, token]) for entry, row, token in keys if (row, token) in chosen]


@lru_cache(maxsize=4)
def vocab_map_of(pair: VocabPair) -> VocabMap:
    """The map between two vocabularies; built once."""
    student = VocabNames.of(len(pair.student), pair.student_ids, pair.student_stops)
    teacher = VocabNames.of(len(pair.teacher), pair.teacher_ids, pair.teacher_stops)
    numbers = {text: name for name, text in enumerate(student.texts)}
    has_exact = np.fromiter((text in numbers for text in teacher.texts), bool, len(teacher))
    exact = np.fromiter((numbers.get(text, 0) for text in teacher.texts), np.int64, len(teacher))
    return VocabMap(student, teacher, exact, has_exact)


def _near(
    strings: tuple[ByteStrings, ByteStrings],
    teacher: tuple[np.ndarray, np.ndarray],
    student: tuple[np.ndarray, np.ndarray],
    max_distance: float,
) -> list[tuple[int, int]]:
    """Pairs of a row's teacher tokens and student tokens that are nearer than `max_distance`.

    Args:
        strings: the bytes of the teacher's and of the student's names.
        teacher: rows, ascending, and names, [n] each.
        student: the same of the student.
        max_distance: see :class:`VocabMap`.

    Returns:
        Indices into the teacher's and the student's arrays, teacher token after teacher token, the nearest first.
    """
    counts = np.bincount(student[0], minlength=int(teacher[0].max(initial=-1)) + 1)
    begins = np.cumsum(counts) - counts
    sizes = counts[teacher[0]]
    found = []
    for block in _blocks(sizes):
        left = np.repeat(block, sizes[block])
        inner = np.arange(len(left)) - np.repeat(np.cumsum(sizes[block]) - sizes[block], sizes[block])
        right = begins[teacher[0][left]] + inner
        found.append(_within(strings, (left, right), (teacher[1][left], student[1][right]), max_distance))
    left, right, distances = (np.concatenate(column) for column in zip(*found, strict=True)) if found else [_NONE] * 3
    order = np.lexsort((right, distances, left))
    return list(zip(left[order].tolist(), right[order].tolist(), strict=True))


_NONE = np.zeros(0, dtype=np.int64)


def _blocks(sizes: np.ndarray) -> list[np.ndarray]:
    """Indices of `sizes`, cut into blocks whose sizes sum to `_PAIRS_AT_ONCE` or a little more."""
    if not len(sizes):
        return []
    number = np.cumsum(sizes) // _PAIRS_AT_ONCE
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(number)) + 1)


def _within(
    strings: tuple[ByteStrings, ByteStrings],
    pairs: tuple[np.ndarray, np.ndarray],
    names: tuple[np.ndarray, np.ndarray],
    max_distance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs that are near enough, and their distances; each distinct pair of names is measured once."""
    total = strings[0].lengths[names[0]] + strings[1].lengths[names[1]]
    near = np.flatnonzero(normalised(lower_bounds(*strings, *names), total) < max_distance)
    keys, inverse = np.unique(names[0][near] * len(strings[1].texts) + names[1][near], return_inverse=True)
    measured = edit_distances(*strings, *np.divmod(keys, max(1, len(strings[1].texts))))
    distances = normalised(measured[inverse], total[near])
    kept = distances < max_distance
    return pairs[0][near][kept], pairs[1][near][kept], distances[kept]
