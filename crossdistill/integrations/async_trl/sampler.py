"""The interface of an engine that samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.errors import InputError


@dataclass(frozen=True)
class Sampled:
    """A response as an engine sampled it.

    Attributes:
        ids: token ids, the stop token included if one was sampled.
        logprobs: nats, float32 [tokens], of each token under the policy that sampled it, at the sampling temperature:
            the engine's own.
        stop_logprob: log of the total probability of all stop tokens at the end, if the engine knows it and the
            response stopped; otherwise the sampled stop's own log-probability stands in for it (decision 4).

    Raises:
        InputError: there is not one log-probability for each token.

    Example:
        >>> Sampled([5, 6, 2], np.array([-0.5, -1.0, -0.25], np.float32)).ids
        [5, 6, 2]
    """

    ids: list[int]
    logprobs: np.ndarray
    stop_logprob: float | None = None

    def __post_init__(self) -> None:
        if len(self.logprobs) != len(self.ids):
            raise InputError(
                f"the engine gave {len(self.logprobs)} log-probabilities for {len(self.ids)} sampled tokens: it must "
                "return that of each token that it samples."
            )


class Sampler(ABC):
    """An engine that samples responses with the weights that it was last given.

    Attributes:
        num_calls: calls of :meth:`sample` that it can serve at the same time.
    """

    num_calls: int = 1

    @abstractmethod
    def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
        """Sample one response to each prompt from the whole distribution, without top-p, top-k or penalties.

        It is called from several threads at once if `num_calls` is above 1.

        Args:
            prompt_ids: prompts in the student's tokens.

        Raises:
            RolloutServerError: the engine failed.
        """

    def prompt_logprobs(self, prompt_ids: Sequence[Sequence[int]]) -> list[np.ndarray] | None:
        """What the engine gives to each token but the first of each prompt, from which is seen whether weights arrive.

        It is called while :meth:`sample` may be under way.

        Args:
            prompt_ids: prompts of two tokens or more.

        Returns:
            Nats at temperature 1, float [tokens - 1] for each prompt; None if the engine cannot tell.

        Raises:
            RolloutServerError: the engine failed.
        """
        return None

    def check(self) -> None:
        """Raises InputError if the engine cannot do its part; called before a run, perhaps after an earlier one."""
        return

    def is_well(self) -> bool:
        """Whether a call that has been under way for long may go on; asked while it is."""
        return False

    def close(self) -> None:
        """Give up what is under way."""
        return
