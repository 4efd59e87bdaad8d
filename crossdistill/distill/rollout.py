"""A batch of sampled completions, cut into turns.

A response without tools is one turn. With tools, an engine puts turns and tool results one after the other in one
completion, and a mask marks the sampled tokens. Each turn is scored by itself, given the conversation before it, which
each model reads in its own template.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdistill.chat.messages import Message, Prompt
from crossdistill.errors import InputError


@dataclass(frozen=True)
class Turn:
    """What the student sampled in one go.

    Attributes:
        row: the completion that it is part of.
        start: position of its first token in the completion.
        ids: the sampled token ids.
        prompt: the conversation before it.

    Example:
        >>> Turn(row=0, start=0, ids=[5, 6], prompt="One, two, ").has_sampled_text
        False
    """

    row: int
    start: int
    ids: list[int]
    prompt: Prompt

    @property
    def has_sampled_text(self) -> bool:
        """Whether the conversation before it holds turns of the same completion."""
        return self.start > 0


@dataclass(frozen=True)
class Rollout:
    """A batch of completions and their turns.

    Attributes:
        prompts, prompt_ids, completion_ids: one for each row; ids are the student's.
        turns: of all rows, in order.
        is_sampled: whether the student sampled the completions; otherwise they were given, or a teacher wrote them.
        teachers: of each row, the teacher that its data names, if any (:class:`crossdistill.distill.Routing`).
        groups: of each row, the number of its group: the responses to one prompt that were sampled together. A row that
            has no such companions is a group of its own.

    Examples:
        >>> rollout = Rollout.of(["One, two, ", "A, B, "], [[1], [2]], [[5, 6], [7]])
        >>> [(turn.row, turn.ids) for turn in rollout.turns]
        [(0, [5, 6]), (1, [7])]
    """

    prompts: list[Prompt]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    turns: list[Turn]
    is_sampled: bool
    teachers: list[str | None]
    groups: list[int]

    @classmethod
    def of(
        cls,
        prompts: Sequence[Prompt],
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        sampled_masks: Sequence[Sequence[int]] | None = None,
        conversations: Sequence[Sequence[Message]] | None = None,
        is_sampled: bool = True,
        teachers: Sequence[str | None] | None = None,
        groups: Sequence[Hashable] | None = None,
    ) -> "Rollout":
        """Cut completions into turns.

        Args:
            prompts: a text or a list of messages for each row.
            prompt_ids: the prompts in the student's tokens.
            completion_ids: the completions in the student's tokens.
            sampled_masks: 1 at sampled tokens, 0 at tool results; None if all are sampled.
            conversations: the messages that followed each prompt, one of the assistant for each turn; None without
                tools.
            is_sampled: see the class.
            teachers: see the class; None if the data names none.
            groups: of each row, anything that the rows of its group have in common and no others; None if each row is
                a group of its own.

        Raises:
            InputError: a mask without messages or the reverse, a mask that does not fit its completion, or a group
                whose rows have different prompts or teachers.
            ValueError: a mask and its messages disagree on the number of turns.
        """
        if (sampled_masks is None) != (conversations is None):
            raise InputError("sampled_masks and conversations belong together: give both, or neither.")
        turns: list[Turn] = []
        for row, (prompt, ids) in enumerate(zip(prompts, completion_ids, strict=True)):
            if sampled_masks is None or conversations is None:
                turns.append(Turn(row, 0, list(ids), prompt))
            else:
                if len(sampled_masks[row]) != len(ids):
                    raise InputError(
                        f"the sampled mask of row {row} has {len(sampled_masks[row])} values for {len(ids)} tokens."
                    )
                turns += _turns(row, prompt, ids, sampled_masks[row], conversations[row])
        rows = [[list(ids) for ids in part] for part in (prompt_ids, completion_ids)]
        names: list[str | None] = [None] * len(prompts) if teachers is None else list(teachers)
        numbers = _numbered(range(len(prompts)) if groups is None else groups)
        _check_groups(numbers, prompts, names)
        return cls(list(prompts), rows[0], rows[1], turns, is_sampled, names, numbers)

    @classmethod
    def concatenate(cls, parts: Sequence["Rollout"]) -> "Rollout":
        """The rows of all parts, in order. No group spans two parts."""
        if len(parts) == 1:
            return parts[0]
        turns: list[Turn] = []
        first = 0
        for part in parts:
            turns += [replace(turn, row=first + turn.row) for turn in part.turns]
            first += len(part.prompts)
        groups = [(number, group) for number, part in enumerate(parts) for group in part.groups]
        return cls(
            [prompt for part in parts for prompt in part.prompts],
            [ids for part in parts for ids in part.prompt_ids],
            [ids for part in parts for ids in part.completion_ids],
            turns,
            all(part.is_sampled for part in parts),
            [name for part in parts for name in part.teachers],
            _numbered(groups),
        )

    def first(self, num_rows: int) -> "Rollout":
        """The first rows of it."""
        own = slice(num_rows)
        return replace(
            self,
            prompts=self.prompts[own],
            prompt_ids=self.prompt_ids[own],
            completion_ids=self.completion_ids[own],
            turns=[turn for turn in self.turns if turn.row < num_rows],
            teachers=self.teachers[own],
            groups=self.groups[own],
        )

    def row(self, row: int) -> "Rollout":
        """One row of it."""
        return Rollout(
            [self.prompts[row]],
            [self.prompt_ids[row]],
            [self.completion_ids[row]],
            [replace(turn, row=0) for turn in self.turns if turn.row == row],
            self.is_sampled,
            [self.teachers[row]],
            [0],
        )

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row, prompt and completion."""
        return [len(prompt) + len(ids) for prompt, ids in zip(self.prompt_ids, self.completion_ids, strict=True)]

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(map(len, self.prompt_ids))

    @property
    def num_tool_tokens(self) -> int:
        """Completion tokens that were not sampled: tool results, and what the template puts around them."""
        return sum(map(len, self.completion_ids)) - sum(len(turn.ids) for turn in self.turns)

    def scatter(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Values of each turn's tokens as values of each row's, 0 (False) at tool results."""
        dtype = values[0].dtype if values else np.dtype(np.float32)
        rows = [np.zeros(len(ids), dtype=dtype) for ids in self.completion_ids]
        for turn, part in zip(self.turns, values, strict=True):
            rows[turn.row][turn.start : turn.start + len(turn.ids)] = part
        return rows

    def gather(self, rows: Sequence[np.ndarray] | Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Values of each row's tokens as values of each turn's."""
        return [rows[turn.row][turn.start : turn.start + len(turn.ids)] for turn in self.turns]

    def prefix(self, turn: Turn) -> tuple[int, ...]:
        """The student's token ids before a turn."""
        return (*self.prompt_ids[turn.row], *self.completion_ids[turn.row][: turn.start])

    def is_at_end(self, turn: Turn) -> bool:
        """Whether a turn ends its completion: no tool was called after it."""
        return turn.start + len(turn.ids) == len(self.completion_ids[turn.row])

    def by_row(self, items: Sequence[Any]) -> list[list[Any]]:
        """Items of the turns, grouped by row."""
        rows: list[list[Any]] = [[] for _ in self.prompts]
        for turn, item in zip(self.turns, items, strict=True):
            rows[turn.row].append(item)
        return rows


def pad(rows: Sequence[np.ndarray], width: int | None = None) -> Tensor:
    """Rows of different lengths as one tensor [B, C], 0 (False) at padding; C is `width`, or the longest row."""
    if width is None:
        width = max(map(len, rows), default=0)
    out = np.zeros((len(rows), width), dtype=rows[0].dtype if rows else np.float32)
    for row, values in enumerate(rows):
        out[row, : len(values)] = values
    return torch.from_numpy(out)


def _numbered(groups: Sequence[Hashable]) -> list[int]:
    """Groups by number, in the order in which they appear."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


def _check_groups(groups: Sequence[int], prompts: Sequence[Prompt], teachers: Sequence[str | None]) -> None:
    """Raises InputError unless the rows of a group answer one prompt, and one teacher's name goes with them."""
    if len(groups) != len(prompts):
        raise InputError(f"groups has {len(groups)} entries for {len(prompts)} prompts: give one for each.")
    firsts: dict[int, int] = {}
    for row, group in enumerate(groups):
        first = firsts.setdefault(group, row)
        if prompts[row] != prompts[first] or teachers[row] != teachers[first]:
            what = "prompts" if prompts[row] != prompts[first] else "teachers"
            raise InputError(
                f"rows {first} and {row} are of one group and have different {what}: a group is several responses to "
                "one prompt."
            )


def _turns(
    row: int, prompt: Prompt, ids: Sequence[int], sampled: Sequence[int], conversation: Sequence[Message]
) -> list[Turn]:
    edges = np.flatnonzero(np.diff([0, *sampled, 0]))
    spans = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    said = [position for position, message in enumerate(conversation) if message["role"] == "assistant"]
    if len(said) != len(spans):
        raise ValueError(f"the completion has {len(spans)} sampled stretches and {len(said)} messages of the assistant")
    before = [[*prompt, *conversation[:position]] for position in said]
    return [
        Turn(row, start, list(ids[start:end]), prompt if start == 0 else messages)
        for (start, end), messages in zip(spans, before, strict=True)
    ]
