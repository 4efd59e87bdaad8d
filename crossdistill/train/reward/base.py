"""The contract of a reward."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from crossdistill.chat.messages import Message, Prompt


@dataclass(frozen=True)
class Answer:
    """A response of the student to a row of the data.

    Attributes:
        row: of the data, with all its columns.
        ids: sampled tokens, tool results included.
        text: of the last turn, without its stop token: the answer.
        conversation: with messages as prompt, what followed it: turns and tool results, the answer last; else empty.
    """

    row: Mapping[str, Any]
    ids: Sequence[int]
    text: str
    conversation: Sequence[Message] = ()

    @property
    def prompt(self) -> Prompt:
        prompt: Prompt = self.row["prompt"]
        return prompt


class Grade(NamedTuple):
    """What a reward says of an answer.

    Attributes:
        value: the reward, in any unit; None if it has none.
        parsed: whether an answer could be read from the text; None if this reward does not tell.
    """

    value: float | None
    parsed: bool | None = None


class Reward(ABC):
    """Grades answers. It may hold processes: use it in a ``with`` statement.

    Attributes:
        name: in messages and records.
    """

    name: str

    @abstractmethod
    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        """One grade for each answer, in order.

        Raises:
            InputError: a row of the data, or a grade, that has no meaning.
        """

    def check(self, rows: Iterable[Mapping[str, Any]]) -> None:  # noqa: B027 - a function has nothing to check
        """Check that answers to these rows can be graded on this machine; by default, nothing.

        Args:
            rows: of the training data.

        Raises:
            InputError: they cannot.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027 - a function holds nothing
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what it holds."""
