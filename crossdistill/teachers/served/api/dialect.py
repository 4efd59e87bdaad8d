"""A dialect: what a server is sent, and how its answers are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from crossdistill.teachers.served.api.answers import PromptLogprobs
from crossdistill.teachers.served.api.token_names import TokenNames


class Dialect(ABC):
    """One way to ask a server for log-probabilities. An object is one variant of it, ready to use with one server.

    Methods that read an answer raise Malformed, or Unsound, with a message that names what is wrong.

    Attributes:
        name: of the dialect, in options and messages.
        path: to which requests are sent.
        num_generated: tokens that the server generates after those that it scores; its context must have room for them.
    """

    name: ClassVar[str]
    path: ClassVar[str] = "/v1/completions"
    num_generated: int = 0

    @classmethod
    @abstractmethod
    def variants(cls, tokenizer: Any, names: TokenNames) -> Iterator["Dialect"]:
        """Yield the variants of this dialect that an unknown server may understand, the most exact first.

        Args:
            tokenizer: the teacher's.
            names: of the teacher's tokens.
        """

    @abstractmethod
    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        """Build a request for the log-probabilities of at least two ids; the model's name is added to it.

        Args:
            ids: token ids.
            top_k: most probable tokens to ask for at each position; 0 for none.

        Raises:
            Refused: these ids cannot be sent.
        """

    @abstractmethod
    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        """Read the answer to :meth:`body` with the same arguments."""

    def body_from(self, ids: Sequence[int], top_k: int, first: int) -> dict[str, Any]:
        """Build a request of which the rows from `first` on are wanted; those before it are of the prompt.

        Override it, and :meth:`read_from`, for an API that can leave the others out.
        """
        return self.body(ids, top_k)

    def read_from(self, answer: Any, ids: Sequence[int], top_k: int, first: int) -> PromptLogprobs:
        """Read the rows from `first` on in the answer to :meth:`body_from`.

        Override it if the others need not be parsed.
        """
        return self.read(answer, ids, top_k).rows_from(first)

    @abstractmethod
    def tokens(self, answer: Any) -> list[str | None]:
        """Return what the server calls each of the ids that it scored; None for one that it does not name."""

    def next_body(self, ids: Sequence[int], wanted: Sequence[int]) -> dict[str, Any] | None:
        """Build a request for the log-probabilities of the `wanted` ids after `ids`; None if that is not possible."""
        return None

    def read_next(self, answer: Any, wanted: Sequence[int]) -> np.ndarray:
        """Read the answer to :meth:`next_body`: nats, float32 [len(wanted)]."""
        raise NotImplementedError(f"the dialect {self.name} does not ask for the next token")

    def adapted(self, answer: Any, ids: Sequence[int]) -> "Dialect":
        """Return this dialect as it suits the server that gave this answer to a request about `ids`."""
        return self

    def naming_tokens(self) -> "Dialect":
        """Return a variant whose answers have the names that the server's own tokenizer gives to the ids."""
        return self

    @property
    def identifies_tokens(self) -> bool:
        """Whether the most probable tokens in an answer are identified without doubt; if not, no top k is used."""
        return True

    def __str__(self) -> str:
        """The name, and what distinguishes this variant, for people."""
        return self.name
