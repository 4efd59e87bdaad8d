"""The turns of a rollout: what the student sampled in one go, and the conversation that it stands in.

A response without tools is one turn. With tools, TRL puts turns and tool results one after the other in one completion,
and a mask tells the sampled tokens from the others. Each turn is scored apart, under the conversation before it, which
each model reads in its own template.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdistill.chat.messages import Message, Prompt


@dataclass(frozen=True)
class Turn:
    """row: of the completion that holds it. start: where it begins there. prompt: all that was said before it."""

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

    prompts, prompt_ids, completion_ids: a row each. turns: of all rows, in order. is_sampled: by the student.
    """

    prompts: list[Prompt]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    turns: list[Turn]
    is_sampled: bool = True

    @classmethod
    def of(
        cls,
        prompts: Sequence[Prompt],
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        sampled_masks: Sequence[Sequence[int]] | None,
        conversations: Sequence[Sequence[Message]] | None,
        is_sampled: bool = True,
    ) -> "Rollout":
        """Cut completions into turns.

        Args:
            sampled_masks: 1 at sampled tokens, 0 at tool results; None where all are sampled.
            conversations: what followed each prompt, as messages; an assistant's message for each turn.

        Raises ValueError where mask and messages tell of different numbers of turns.
        """
        turns: list[Turn] = []
        for row, (prompt, ids) in enumerate(zip(prompts, completion_ids, strict=True)):
            if sampled_masks is None or conversations is None:
                turns.append(Turn(row, 0, list(ids), prompt))
            else:
                turns += _turns(row, prompt, ids, sampled_masks[row], conversations[row])
        rows = [[list(ids) for ids in part] for part in (prompt_ids, completion_ids)]
        return cls(list(prompts), rows[0], rows[1], turns, is_sampled)

    @classmethod
    def joined(cls, parts: Sequence["Rollout"]) -> "Rollout":
        """The rows of all of them, one part after the other."""
        turns: list[Turn] = []
        first = 0
        for part in parts:
            turns += [replace(turn, row=first + turn.row) for turn in part.turns]
            first += len(part.prompts)
        return cls(
            [prompt for part in parts for prompt in part.prompts],
            [ids for part in parts for ids in part.prompt_ids],
            [ids for part in parts for ids in part.completion_ids],
            turns,
            all(part.is_sampled for part in parts),
        )

    @property
    def num_prompt_tokens(self) -> int:
        """Of the prompts."""
        return sum(map(len, self.prompt_ids))

    @property
    def num_tool_tokens(self) -> int:
        """Tokens of the completions that nobody sampled: tool results, and what the template puts around them."""
        return sum(map(len, self.completion_ids)) - sum(len(turn.ids) for turn in self.turns)

    def spread(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Values of each turn's tokens as values of each row's, 0 (False) at tool results."""
        dtype = values[0].dtype if values else np.dtype(np.float32)
        rows = [np.zeros(len(ids), dtype=dtype) for ids in self.completion_ids]
        for turn, part in zip(self.turns, values, strict=True):
            rows[turn.row][turn.start : turn.start + len(turn.ids)] = part
        return rows

    def collect(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Values of each row's tokens as values of each turn's."""
        return [rows[turn.row][turn.start : turn.start + len(turn.ids)] for turn in self.turns]

    def prefix(self, turn: Turn) -> tuple[int, ...]:
        """The student's token ids before a turn."""
        return (*self.prompt_ids[turn.row], *self.completion_ids[turn.row][: turn.start])

    def is_at_end(self, turn: Turn) -> bool:
        """Whether a turn is the end of its completion: no tool was called after it."""
        return turn.start + len(turn.ids) == len(self.completion_ids[turn.row])

    def by_row(self, items: Sequence[Any]) -> list[list[Any]]:
        """What there is one of for each turn, grouped by row."""
        rows: list[list[Any]] = [[] for _ in self.prompts]
        for turn, item in zip(self.turns, items, strict=True):
            rows[turn.row].append(item)
        return rows


class TurnLogprobs:
    """Log-probabilities that an engine gave along with what it sampled, found again by what stood before it."""

    def __init__(self) -> None:
        self._by_prefix: dict[tuple[int, ...], deque[np.ndarray]] = defaultdict(deque)

    def record(self, prefixes: Sequence[Sequence[int]], rows: Sequence[np.ndarray]) -> None:
        """One call of the engine: nats, float32 [tokens] of each answer."""
        for prefix, row in zip(prefixes, rows, strict=True):
            self._by_prefix[tuple(prefix)].append(row)

    def take(self, rollout: Rollout) -> list[np.ndarray]:
        """Those of each turn; a turn that TRL cut to the budget has the first ones. Starts anew."""
        rows = [self._by_prefix[rollout.prefix(turn)].popleft()[: len(turn.ids)] for turn in rollout.turns]
        self._by_prefix.clear()
        return rows


def padded(rows: Sequence[np.ndarray], like: Tensor) -> Tensor:
    """Rows of different length as one tensor of the shape of `like` [B, C], 0 (False) at padding."""
    out = np.zeros(tuple(like.shape), dtype=rows[0].dtype)
    for row, values in enumerate(rows):
        out[row, : len(values)] = values
    return torch.from_numpy(out).to(like.device)


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
