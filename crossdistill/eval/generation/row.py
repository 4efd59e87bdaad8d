"""A response in the making."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Row:
    """A response that is being written.

    Attributes:
        number: the caller's.
        prompt: its token ids.
        limit: most tokens of the response.
        random: its random numbers.
        ids: the tokens so far, the stop token included.
        began: when its prompt was read, by ``time.monotonic``.
    """

    number: int
    prompt: Sequence[int]
    limit: int
    random: np.random.Generator
    ids: list[int] = field(default_factory=list)
    began: float = 0.0

    @property
    def room(self) -> int:
        """Tokens that it may take in all."""
        return len(self.prompt) + self.limit


@dataclass(frozen=True)
class Settings:
    """How rows are decoded.

    Attributes:
        stops: ids that end a response.
        temperature: 0 is greedy.
        top_p: probability of the tokens that are sampled from.
        batch_tokens: most tokens of a batch: rows times the room of the largest; a single row may take more.
    """

    stops: tuple[int, ...]
    temperature: float
    top_p: float
    batch_tokens: int
