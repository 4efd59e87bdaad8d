"""What an engine that samples says of its own samples, until the turns are known that they belong to."""

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np

from crossdistill.distill.rollout import Rollout
from crossdistill.distill.student import StudentLogprobs


class TurnLogprobs:
    """Log-probabilities that an engine returned with its samples, looked up by the token ids before each turn.

    Example:
        >>> kept, rollout = TurnLogprobs(), Rollout.of(["One, two, "], [[1]], [[5, 6]])
        >>> kept.record([[1]], [np.array([-0.5, -1.0])], [np.array([-9.0, -0.75])])
        >>> kept.take(rollout, stop_positions=[1]).stops
        [-0.75]
        >>> kept.take(rollout, stop_positions=[1]) is None
        True
    """

    def __init__(self) -> None:
        self._by_prefix: dict[tuple[int, ...], deque[tuple[np.ndarray, np.ndarray]]] = defaultdict(deque)

    def record(
        self, prefixes: Sequence[Sequence[int]], tokens: Sequence[np.ndarray], stops: Sequence[np.ndarray]
    ) -> None:
        """Keep those of one call of the engine.

        Args:
            prefixes: the token ids before each answer.
            tokens: nats, float32 [tokens] of each answer.
            stops: log of the total probability of all stop tokens at each of these tokens, likewise.
        """
        for prefix, *row in zip(prefixes, tokens, stops, strict=True):
            self._by_prefix[tuple(prefix)].append((row[0], row[1]))

    def take(self, rollout: Rollout, stop_positions: Sequence[int | None]) -> StudentLogprobs | None:
        """Those of each turn, and forget all; None if the engine did not say all of them, one for each token.

        A turn that was cut to the budget gets as many as it has tokens.

        Args:
            rollout: what was sampled since the last call.
            stop_positions: position of each turn's stop token in the turn, None if it has none.
        """
        known, self._by_prefix = self._by_prefix, defaultdict(deque)
        found = [known[rollout.prefix(turn)] for turn in rollout.turns]
        tokens, stops = [], []
        for turn, answers, stop in zip(rollout.turns, found, stop_positions, strict=True):
            if not answers:
                return None
            of_tokens, of_stops = answers.popleft()
            if min(len(of_tokens), len(of_stops)) < len(turn.ids):
                return None
            tokens.append(of_tokens[: len(turn.ids)])
            stops.append(None if stop is None else float(of_stops[stop]))
        return StudentLogprobs(tokens, stops)

    def clear(self) -> None:
        """Forget all."""
        self._by_prefix.clear()
