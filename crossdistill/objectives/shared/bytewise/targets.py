"""A teacher's distribution over its next token as one over student tokens, by byte prefixes.

Shapes: R positions, V_S and V_T vocabularies. A target has V_S + 1 columns (module `byte_prefixes`), the residual last.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import segment_indices, segment_logsumexp
from crossdistill.ops.logprobs import TILE_ELEMENTS

_TERM_ELEMENTS = 6  # memory of one term of a sum, in logits


class Targets(Protocol):
    """Builds the targets of a tile."""

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The targets of R positions.

        Args:
            teacher_logits: [R, V_T].
            numbers: int64 [R], the numbers of the positions.

        Returns:
            Probabilities, [R, V_S + 1], and the columns that some teacher token goes to, bool [R or 1, V_S + 1].
        """
        ...

    def tile_elements(self, width: int) -> int:
        """The number of logits to hold at once if a row has `width` of them."""
        ...


class FirstTargets:
    """Targets of student tokens that begin where a teacher token begins: the teacher's whole distribution."""

    def __init__(self, tables: BytePrefixes, device: torch.device):
        self._columns = to_tensor(tables.all_columns(), device)
        self._own = torch.zeros(1, tables.residual + 1, dtype=torch.bool, device=device)
        self._own[0, self._columns] = True

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        target = teacher_logits.new_zeros(len(teacher_logits), self._own.shape[1])
        return target.index_add_(1, self._columns, teacher_logits.softmax(-1)), self._own

    def tile_elements(self, width: int) -> int:
        return TILE_ELEMENTS


class InnerTargets:
    """Targets of student tokens that begin inside a teacher token: its tokens that begin with the bytes already read.

    Args:
        tables: the tables of the pair.
        prefixes: the bytes already read at each position, in the order of the positions' numbers.
        device: where the logits are.
    """

    def __init__(self, tables: BytePrefixes, prefixes: Sequence[bytes], device: torch.device):
        self._num_columns = tables.residual + 1
        self._order = to_tensor(tables.order, device)
        ranges, columns, offset = {}, [torch.zeros(0, dtype=torch.long)], 0
        for prefix in dict.fromkeys(prefixes):
            low, high = tables.within(prefix)
            ranges[prefix] = (low, high - low, offset)
            columns.append(torch.from_numpy(tables.columns(prefix)))
            offset += high - low
        self._columns = torch.cat(columns).to(device)
        rows = [ranges[prefix] for prefix in prefixes]
        self._low, self._sizes, self._offsets = torch.tensor(rows, device=device).reshape(-1, 3).long().unbind(-1)

    def log_totals(self, teacher_logits: Tensor, numbers: Tensor) -> Tensor:
        """Log of the sum of exponentials of the logits of the tokens that begin with the bytes read, [R]; or -inf."""
        rows, _, values = self._values(teacher_logits, numbers)
        return segment_logsumexp(values, rows, len(numbers))

    def _values(self, teacher_logits: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each such token: the position, the index in its range, and the logit."""
        rows, terms = segment_indices(self._sizes[numbers])
        return rows, terms, teacher_logits[rows, self._order[self._low[numbers][rows] + terms]]

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        rows, terms, values = self._values(teacher_logits, numbers)
        sums = segment_logsumexp(values, rows, len(numbers))
        probs = (values - sums.masked_fill(sums == -torch.inf, 0.0)[rows]).exp()
        columns = self._columns[self._offsets[numbers][rows] + terms]
        target = teacher_logits.new_zeros(len(numbers), self._num_columns)
        target.view(-1).index_add_(0, rows * self._num_columns + columns, probs)
        target[:, -1] += (sums == -torch.inf).to(target)  # a teacher that rules out the bytes read so far
        own = torch.zeros(target.shape, dtype=torch.bool, device=target.device)
        own[rows, columns] = True
        return target, own

    def tile_elements(self, width: int) -> int:
        largest = int(self._sizes.max()) if len(self._sizes) else 0
        return TILE_ELEMENTS * width // (width + _TERM_ELEMENTS * largest)
