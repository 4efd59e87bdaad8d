"""What a server is asked, and what is read from its answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from crossdistill.teachers.served.http.errors import Malformed, Unsound

ROUNDING_NATS = 1e-3
"""By how much a log-probability may exceed 0: servers round."""
FLOOR_NATS = -9999.0
"""How servers write the logarithm of 0, for which JSON has no number."""
ID_PREFIX = "token_id:"
"""Before the number of a token, where it stands for its name."""
_TOLERANCE = 1e-2


class PromptLogprobs(NamedTuple):
    """Scores of token ids, in nats. Row j is of ``ids[j + 1]`` given ``ids[: j + 1]``.

    logprobs: float32 [len(ids) - 1]. top_ids: int64 [len(ids) - 1, k], the most probable tokens at the same places,
    in descending order; top_logprobs: float32, likewise. Both are None where no top k was asked for.
    """

    logprobs: np.ndarray
    top_ids: np.ndarray | None = None
    top_logprobs: np.ndarray | None = None


class Dialect(Protocol):
    """One way to ask for log-probabilities.

    name: for messages. path: where the bodies are sent. num_generated: tokens that the server writes after those that
    it scores, for which its context must have room. Readers raise Malformed, or Unsound, naming what is wrong.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def num_generated(self) -> int: ...

    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        """Asks for the scores of at least two ids, and for the `top_k` most probable tokens at each place.

        Raises Refused where these ids cannot be asked about.
        """
        ...

    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs: ...

    def tokens(self, answer: Any) -> list[str | None]:
        """What the server calls each of the ids that were scored; None where it does not say."""
        ...

    def next_body(self, ids: Sequence[int], wanted: Sequence[int]) -> dict[str, Any] | None:
        """Asks for the log-probabilities of the `wanted` ids after `ids`; None where the dialect cannot."""
        ...

    def read_next(self, answer: Any, wanted: Sequence[int]) -> np.ndarray:
        """Nats, float32 [len(wanted)]."""
        ...


def field(answer: Any, *path: str | int) -> Any:
    """``answer[path[0]][path[1]]...``; Malformed names the place where the answer has another shape."""
    for k, key in enumerate(path):
        kind = list if isinstance(key, int) else dict
        has = isinstance(answer, kind) and (key < len(answer) if isinstance(key, int) else key in answer)
        if not has:
            raise Malformed(f"the answer has no {'.'.join(map(str, path[: k + 1]))}")
        answer = answer[key]
    return answer


def number(value: Any, place: str) -> float:
    """A log-probability as it is written; -inf for the floor. May be NaN or positive: see :func:`sound`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"the log-probability {place} is no number")
    if value <= FLOOR_NATS:
        return -math.inf
    return float(min(value, 2**30) if isinstance(value, int) else value)


def token_number(text: str) -> int | None:
    """A token's number as it is written; None where the text is none, or longer than one can be."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def possible(logprobs: Sequence[float]) -> np.ndarray:
    """Log-probabilities of any tokens, float32: of 0 they are -inf. Unsound where one is NaN or positive."""
    array = np.asarray(logprobs, dtype=np.float64)
    if not (array <= ROUNDING_NATS).all():
        raise Unsound(f"of the log-probabilities {array.tolist()} one is none")
    return np.minimum(array, 0.0).astype(np.float32)


def sound(logprobs: Sequence[float]) -> np.ndarray:
    """Log-probabilities of realised tokens, float32; Unsound names one that cannot be."""
    array = np.asarray(logprobs, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(array) & (array <= ROUNDING_NATS)))
    if bad.size:
        raise Unsound(f"the log-probability at position {bad[0] + 1} is {array[bad[0]]}")
    return possible(logprobs)


def with_top(tops: Sequence[Mapping[int, float]], ids: Sequence[int], logprobs: np.ndarray) -> PromptLogprobs:
    """Log-probabilities of the realised `ids`, with the k most probable tokens (id -> nats) at each place.

    Unsound names a place where they are no part of one distribution: a value is NaN or positive, they add up to more
    than 1, or the realised token has another value among them, or a greater one.
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
            f"the {top.shape[1]} most probable tokens at position {bad[0] + 1} are no part of a distribution: their "
            f"probabilities add up to {mass[bad[0]]:.4g} and the first is {top[bad[0]].max():.4g} nats, where the "
            f"token that is there has {logprobs[bad[0]]:.4g}"
        )
    order = np.argsort(-top, axis=1, kind="stable")
    top = np.take_along_axis(np.minimum(top, 0.0), order, 1)
    return PromptLogprobs(logprobs, np.take_along_axis(top_ids, order, 1), top.astype(np.float32))
