"""The teacher's probability of tokens that a student token goes beyond, so that the teacher may write it in pieces.

Shapes: R positions, V_S and V_T vocabularies. A column is as in module `byte_prefixes`; only those that some teacher
token goes to have a sum, the others 0.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import segment_indices
from crossdistill.objectives.shared.bytewise.targets import InnerTargets
from crossdistill.objectives.shared.vocab_pair import VocabPair


class FirstContinued:
    """For student tokens that begin where a teacher token begins.

    Args:
        pair: both vocabularies.
        tables: their tables.
        device: where the logits are.
    """

    def __init__(self, pair: VocabPair, tables: BytePrefixes, device: torch.device):
        self._num_columns = tables.residual
        columns = _with_bytes(np.unique(tables.columns(b"")), tables)
        self._columns, self._tokens = _tensors(_pairs(pair, b"", columns), device)

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> Tensor:
        """The sums at R positions, [R, V_S]; arguments as those of the targets."""
        probs = teacher_logits.softmax(-1)
        found = probs.new_zeros(len(probs), self._num_columns)
        return found.index_add_(1, self._columns, probs[:, self._tokens])


class InnerContinued:
    """For student tokens that begin inside a teacher token. A token that ends there may be followed by any other.

    Args:
        pair: both vocabularies.
        tables: their tables.
        prefixes: the bytes already read at each position, in the order of the positions' numbers.
        targets: of the same positions.
        device: where the logits are.
    """

    def __init__(
        self,
        pair: VocabPair,
        tables: BytePrefixes,
        prefixes: Sequence[bytes],
        targets: InnerTargets,
        device: torch.device,
    ):
        self._num_columns, self._targets = tables.residual, targets
        parts, spans, offset = [], {}, 0
        for prefix in dict.fromkeys(prefixes):
            columns = _with_bytes(np.unique(tables.columns(prefix)), tables)
            parts.append(list(_pairs(pair, prefix, columns)))
            spans[prefix] = (len(parts[-1]), offset)
            offset += len(parts[-1])
        self._columns, self._tokens = _tensors((entry for part in parts for entry in part), device)
        rows = [spans[prefix] for prefix in prefixes]
        self._sizes, self._offsets = torch.tensor(rows, device=device).reshape(-1, 2).long().unbind(-1)

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> Tensor:
        """As that of :class:`FirstContinued`, given the bytes already read."""
        rows, terms = segment_indices(self._sizes[numbers])
        here = self._offsets[numbers][rows] + terms
        totals = self._targets.log_totals(teacher_logits, numbers)
        is_possible = totals > -torch.inf
        probs = (teacher_logits[rows, self._tokens[here]] - totals.masked_fill(~is_possible, 0.0)[rows]).exp()
        found = teacher_logits.new_zeros(len(numbers), self._num_columns)
        found.view(-1).index_add_(0, rows * self._num_columns + self._columns[here], probs)
        return found


def _with_bytes(columns: np.ndarray, tables: BytePrefixes) -> list[int]:
    return [column for column in columns.tolist() if column not in (tables.residual, tables.stop)]


def _pairs(pair: VocabPair, prefix: bytes, columns: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(column, teacher token) for each teacher token of `prefix` and a proper beginning of the column's bytes."""
    stops = {*pair.teacher_stops}
    for column in columns:
        data = prefix + pair.student.pieces[column]
        for size in range(max(1, len(prefix)), len(data)):
            for token in pair.teacher_ids.get(data[:size], ()):
                if token not in stops:
                    yield column, token


def _tensors(pairs: Iterable[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    columns, tokens = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
    return to_tensor(columns, device), to_tensor(tokens, device)
