"""The teacher's probability of tokens that a student token goes beyond, so that the teacher may write it in pieces.

Shapes: R positions, V_S and V_T vocabularies, P pairs of a column and a teacher token. A column is as in module
`byte_prefixes`; only those that some teacher token goes to have a sum, the others 0.
"""

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.prefix_probabilities import segment_indices
from crossdistill.objectives.shared.bytewise.targets import InnerTargets
from crossdistill.objectives.shared.vocab_pair import VocabPair


def continuations(pair: VocabPair, prefix: bytes) -> np.ndarray:
    """Which columns go beyond which teacher tokens after the bytes of `prefix`: int64 [P, 2]; computed once.

    A column's bytes b go beyond each teacher token that is `prefix` and a proper beginning of b; that beginning may be
    empty if `prefix` is not.
    """
    known = _KNOWN.setdefault(pair, {})
    if prefix not in known:
        known[prefix] = np.array(list(_continuations(pair, prefix)), dtype=np.int64).reshape(-1, 2)
    return known[prefix]


_KNOWN: "WeakKeyDictionary[VocabPair, dict[bytes, np.ndarray]]" = WeakKeyDictionary()


def _continuations(pair: VocabPair, prefix: bytes) -> Iterator[tuple[int, int]]:
    tables, stops = prefixes_of(pair), {*pair.teacher_stops}
    for column in {*tables.columns(prefix).tolist()} - {tables.residual}:
        data = prefix + pair.student.pieces[column]
        for size in range(max(1, len(prefix)), len(data)):
            for token in pair.teacher_ids.get(data[:size], ()):
                if token not in stops:
                    yield column, token


class FirstContinued:
    """For student tokens that begin where a teacher token begins.

    Args:
        pair: both vocabularies.
        device: where the logits are.
    """

    def __init__(self, pair: VocabPair, device: torch.device):
        self._num_columns = len(pair.student)
        self._columns, self._tokens = (to_tensor(side, device) for side in continuations(pair, b"").T)

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> Tensor:
        """The sums at R positions, [R, V_S]; arguments as those of the targets."""
        probs = teacher_logits.softmax(-1)
        found = probs.new_zeros(len(probs), self._num_columns)
        return found.index_add_(1, self._columns, probs[:, self._tokens])


class InnerContinued:
    """For student tokens that begin inside a teacher token. One that ends there may be followed by any student token.

    Args:
        pair: both vocabularies.
        prefixes: the bytes already read at each position, in the order of the positions' numbers.
        targets: of the same positions.
        device: where the logits are.
    """

    def __init__(self, pair: VocabPair, prefixes: Sequence[bytes], targets: InnerTargets, device: torch.device):
        self._num_columns, self._targets = len(pair.student), targets
        known = {prefix: continuations(pair, prefix) for prefix in dict.fromkeys(prefixes)}
        offsets = dict(zip(known, np.cumsum([0, *map(len, known.values())])[:-1].tolist(), strict=True))
        every = np.concatenate([np.zeros((0, 2), dtype=np.int64), *known.values()])
        self._columns, self._tokens = (to_tensor(side, device) for side in every.T)
        rows = [(len(known[prefix]), offsets[prefix]) for prefix in prefixes]
        self._sizes, self._offsets = torch.tensor(rows, device=device).reshape(-1, 2).long().unbind(-1)

    def __call__(self, teacher_logits: Tensor, numbers: Tensor) -> Tensor:
        """As that of :class:`FirstContinued`, given the bytes already read."""
        rows, terms = segment_indices(self._sizes[numbers])
        here = self._offsets[numbers][rows] + terms
        totals = self._targets.log_totals(teacher_logits, numbers)
        shift = totals.masked_fill(totals == -torch.inf, 0.0)  # a teacher that rules out the bytes read so far
        probs = (teacher_logits[rows, self._tokens[here]] - shift[rows]).exp()
        found = teacher_logits.new_zeros(len(numbers), self._num_columns)
        found.view(-1).index_add_(0, rows * self._num_columns + self._columns[here], probs)
        return found
