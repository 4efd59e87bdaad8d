"""The contract of what writes responses for an evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling


@dataclass(frozen=True)
class Wanted:
    """A sample to write: the problem, and which of its samples."""

    problem: Problem
    index: int


@dataclass(frozen=True)
class Written:
    """A response, before it is graded; see :class:`crossdistill.eval.sample.Sample` for the fields."""

    wanted: Wanted
    response: str
    finish_reason: str
    tokens: int
    seconds: float
    prompt_tokens: int | None = None


class Generator(ABC):
    """Writes responses, by a model in this process or behind a server."""

    @abstractmethod
    def write(self, wanted: Sequence[Wanted], sampling: Sampling) -> Iterator[Written]:
        """Write responses, in any order, as they become ready.

        What a sample reads depends on the sampling's seed, its problem and its index alone, so that an evaluation
        that was interrupted goes on as if it had not been.

        Raises:
            ServerError: a server failed for good; what came before is written.
        """
