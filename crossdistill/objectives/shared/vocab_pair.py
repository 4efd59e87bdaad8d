"""Two vocabularies and the candidates that both have, as tables for objectives."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class Groups:
    """The token ids of each of K columns; most have one.

    Attributes:
        first: int64 [K], an id of each column.
        several: int64 [M], the columns that have more than one id.
        ids: int64 [M, W], all ids of these columns.
        mask: bool [M, W], whether `ids` holds an id there.
    """

    first: Tensor
    several: Tensor
    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, columns: Sequence[Sequence[int]]) -> "Groups":
        """The tables of columns, each given by its ids (at least one)."""
        several = [column for column, ids in enumerate(columns) if len(ids) > 1]
        width = max((len(columns[column]) for column in several), default=0)
        ids = torch.zeros(len(several), width, dtype=torch.long)
        mask = torch.zeros(len(several), width, dtype=torch.bool)
        for row, column in enumerate(several):
            size = len(columns[column])
            ids[row, :size], mask[row, :size] = torch.tensor(columns[column]), True
        first = torch.tensor([column[0] for column in columns], dtype=torch.long)
        return cls(first, torch.tensor(several, dtype=torch.long), ids, mask)

    def select(self, log_probs: Tensor) -> Tensor:
        """Log of the total probability of each column: [R, V] -> [R, K]. Differentiable."""
        chosen = log_probs.index_select(1, self.first)
        if not len(self.several):
            return chosen
        parts = log_probs.index_select(1, self.ids.flatten()).unflatten(1, self.ids.shape)
        return chosen.index_copy(1, self.several, parts.masked_fill(~self.mask, -torch.inf).logsumexp(-1))

    def to(self, device: torch.device) -> "Groups":
        """A copy on a device."""
        return Groups(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass(frozen=True)
class Columns:
    """K candidates by their ids on each side: the byte strings that both have, and last the stop, if it is taught.

    Entries are equal if their bytes are, whatever their names; several ids of the same bytes are one candidate, and so
    are all stop tokens of a side.

    Attributes:
        student: the student's ids of each candidate.
        teacher: the teacher's ids of each candidate.
    """

    student: Groups
    teacher: Groups

    def __len__(self) -> int:
        return len(self.student.first)

    def to(self, device: torch.device) -> "Columns":
        """A copy on a device."""
        return Columns(self.student.to(device), self.teacher.to(device))


@dataclass(frozen=True, eq=False)
class VocabPair:
    """A student's and a teacher's vocabulary.

    Attributes:
        student: the student's vocabulary.
        teacher: the teacher's vocabulary.
        student_stops: the student's token ids that end a response; empty on both sides if the end is not taught.
        teacher_stops: the teacher's.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> from crossdistill import ByteVocab
        >>> from crossdistill.objectives import VocabPair
        >>> vocab = ByteVocab.from_tokenizer(ByT5Tokenizer())
        >>> pair = VocabPair(vocab, vocab, student_stops=(1,), teacher_stops=(1,))
        >>> pair.num_shared, len(pair.shared())  # the second counts the stop, too
        (256, 257)
    """

    student: ByteVocab
    teacher: ByteVocab
    student_stops: tuple[int, ...] = ()
    teacher_stops: tuple[int, ...] = ()
    _on_device: dict[torch.device, Columns] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def student_ids(self) -> Mapping[bytes, Sequence[int]]:
        """Bytes -> the student's token ids that carry them."""
        return _by_bytes(self.student.pieces)

    @cached_property
    def teacher_ids(self) -> Mapping[bytes, Sequence[int]]:
        """Bytes -> the teacher's token ids that carry them."""
        return _by_bytes(self.teacher.pieces)

    @cached_property
    def num_shared(self) -> int:
        """The number of byte strings that both vocabularies have."""
        return len(self.student_ids.keys() & self.teacher_ids.keys())

    def shared(self, device: torch.device | str = "cpu") -> Columns:
        """The candidates that both vocabularies have, on a device; built once a device."""
        device = torch.device(device)
        if device not in self._on_device:
            self._on_device[device] = self._columns.to(device)
        return self._on_device[device]

    @cached_property
    def _columns(self) -> Columns:
        texts = [text for text in self.student_ids if text in self.teacher_ids]
        student = [self.student_ids[text] for text in texts]
        teacher = [self.teacher_ids[text] for text in texts]
        if self.student_stops and self.teacher_stops:
            student.append(self.student_stops)
            teacher.append(self.teacher_stops)
        return Columns(Groups.of(student), Groups.of(teacher))

    def check_shared(self, objective: str) -> None:
        """Raises InputError if no entry is shared, so that `objective` would have nothing to compare."""
        if not self.num_shared:
            raise InputError(
                f"objective {objective!r} compares the tokens that both vocabularies have, and these two share none: "
                'choose an objective that needs none, such as "dpca", "bpm" or "alm".'
            )


def _by_bytes(pieces: Iterable[bytes]) -> dict[bytes, Any]:
    found: dict[bytes, list[int]] = defaultdict(list)
    for token_id, piece in enumerate(pieces):
        if piece:
            found[piece].append(token_id)
    return dict(found)
