"""Reads a server's answers: fields, numbers, and whether log-probabilities are possible at all."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from crossdistill.teachers.served.http.errors import Malformed, Unsound

ROUNDING_NATS = 1e-3
"""By how much a log-probability may exceed 0: servers round."""
FLOOR_NATS = -9999.0
"""Servers write this for the logarithm of 0, for which JSON has no number."""
ID_PREFIX = "token_id:"
"""Comes before the id of a token that an answer names by its id."""
_TOLERANCE = 1e-2  # in probability or nats, between numbers of one answer


class PromptLogprobs(NamedTuple):
    """Log-probabilities of token ids; row j is of ``ids[j + 1]`` given ``ids[: j + 1]``.

    Attributes:
        logprobs: nats, float32 [len(ids) - 1].
        top_ids: the k most probable tokens at the same positions, in descending order, int64 [len(ids) - 1, k]; None if
            no top k was asked for.
        top_logprobs: their log-probabilities in nats, float32 [len(ids) - 1, k]; None together with `top_ids`.
    """

    logprobs: np.ndarray
    top_ids: np.ndarray | None = None
    top_logprobs: np.ndarray | None = None

    def rows_from(self, first: int) -> "PromptLogprobs":
        """The rows from `first` on, copied so that the others can be freed."""
        logprobs = self.logprobs[first:].copy()
        if self.top_ids is None or self.top_logprobs is None:
            return PromptLogprobs(logprobs)
        return PromptLogprobs(logprobs, self.top_ids[first:].copy(), self.top_logprobs[first:].copy())


def field(answer: Any, *path: str | int) -> Any:
    """Return ``answer[path[0]][path[1]]...``.

    Raises:
        Malformed: the answer has another shape; the message names the path that is missing.
    """
    for k, key in enumerate(path):
        kind = list if isinstance(key, int) else dict
        has = isinstance(answer, kind) and (key < len(answer) if isinstance(key, int) else key in answer)
        if not has:
            raise Malformed(f"the answer has no {'.'.join(map(str, path[: k + 1]))}")
        answer = answer[key]
    return answer


def number(value: Any, place: str) -> float:
    """Return a log-probability as the server wrote it; -inf for the floor.

    It may be NaN or positive: :func:`realised` and :func:`possible` check that.

    Args:
        value: from the answer.
        place: where in the answer it is, for the message.

    Raises:
        Malformed: it is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"the log-probability {place} is not a number")
    if value <= FLOOR_NATS:
        return -math.inf
    return float(min(value, 2**30) if isinstance(value, int) else value)


def token_number(text: str) -> int | None:
    """Parse a token id; None if the text is not a number, or has more digits than an id can have."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def possible(logprobs: Sequence[float]) -> np.ndarray:
    """Check log-probabilities of any tokens, which may be -inf.

    Returns:
        Nats, float32, at most 0.

    Raises:
        Unsound: one is NaN or positive.
    """
    array = np.asarray(logprobs, dtype=np.float64)
    if not (array <= ROUNDING_NATS).all():
        raise Unsound(f"one of the log-probabilities {array.tolist()} is NaN or positive")
    return np.minimum(array, 0.0).astype(np.float32)


def realised(logprobs: Sequence[float]) -> np.ndarray:
    """Check log-probabilities of realised tokens, which must be finite.

    Returns:
        Nats, float32, at most 0.

    Raises:
        Unsound: one is NaN, infinite or positive; the message names the first.
    """
    array = np.asarray(logprobs, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(array) & (array <= ROUNDING_NATS)))
    if bad.size:
        raise Unsound(f"the log-probability at position {bad[0] + 1} is {array[bad[0]]}")
    return possible(logprobs)


def with_top(
    tops: Sequence[Mapping[int, float]], ids: Sequence[int], logprobs: np.ndarray, first: int = 0
) -> PromptLogprobs:
    """Join the log-probabilities of realised tokens and the most probable tokens at the same positions.

    Args:
        tops: the k most probable tokens at each position, id -> nats.
        ids: the realised tokens.
        logprobs: of `ids`, float32.
        first: row of the first one, for the message.

    Raises:
        Unsound: at one position they cannot belong to one distribution: a value is NaN or positive, they add up to more
            than 1, or the realised token has another value among them, or is more probable than all of them.
    """
    top_ids = np.array([[*top] for top in tops], dtype=np.int64)
    top = np.array([[*top.values()] for top in tops], dtype=np.float64)
    with np.errstate(over="ignore"):
        mass = np.exp(top).sum(1)
    is_realised = top_ids == np.asarray(ids)[:, None]
    agrees = ~is_realised | (np.abs(top - logprobs[:, None]) <= _TOLERANCE)
    is_possible = (mass <= 1 + _TOLERANCE) & (top <= ROUNDING_NATS).all(1)
    is_sound = is_possible & agrees.all(1) & (logprobs <= top.max(1) + _TOLERANCE)
    bad = np.flatnonzero(~is_sound)
    if bad.size:
        raise Unsound(
            f"the {top.shape[1]} most probable tokens at position {first + bad[0] + 1} are not part of a distribution: "
            f"their probabilities add up to {mass[bad[0]]:.4g} and the first has {top[bad[0]].max():.4g} nats, but the "
            f"realised token has {logprobs[bad[0]]:.4g}"
        )
    order = np.argsort(-top, axis=1, kind="stable")
    top = np.take_along_axis(np.minimum(top, 0.0), order, 1)
    return PromptLogprobs(logprobs, np.take_along_axis(top_ids, order, 1), top.astype(np.float32))
