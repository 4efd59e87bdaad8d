"""Which responses of a batch answer the same prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ResponseGroups:
    """The group of each of B responses.

    Attributes:
        ids: int64 [B], equal for the responses of a group.
        sizes: int64 [B], the responses of its group that have a teacher's signal, wherever they are: a batch for the
            loss may hold some of them.

    Example:
        >>> groups = ResponseGroups.of([7, 4, 7])
        >>> groups.sizes.tolist(), groups.select([2]).sizes.tolist()
        ([2, 1, 2], [2])
    """

    ids: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[int]) -> "ResponseGroups":
        """Groups of which all responses are there."""
        numbers = np.asarray(ids, dtype=np.int64)
        _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        return cls(numbers, counts[inverse].astype(np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence["ResponseGroups"]) -> "ResponseGroups":
        """The groups of the responses of all parts; equal ids are one group."""
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([part.sizes for part in parts]))

    def select(self, responses: Sequence[int] | np.ndarray) -> "ResponseGroups":
        """Those of some responses, in the given order."""
        rows = np.asarray(responses, dtype=np.int64)
        return ResponseGroups(self.ids[rows], self.sizes[rows])
