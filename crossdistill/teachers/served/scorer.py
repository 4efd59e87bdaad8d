"""Scores many requests at once; each gets its scores, or a reason why it has none."""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from crossdistill.align import DropReason
from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers.served.api.answers import PromptLogprobs
from crossdistill.teachers.served.api.client import ScoringClient
from crossdistill.teachers.served.capabilities import Capabilities
from crossdistill.teachers.served.health import Health
from crossdistill.teachers.served.http.errors import Refused, TooSlow, Transient, drop_reason
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions

_LOGGER = logging.getLogger("crossdistill")
_TRIES, _ROUNDS = 3, 3
_MOST_SLOW_ROUNDS = _TRIES * _ROUNDS
_TRUSTED_S = 30.0
"""Seconds without a check of the fingerprint; a killed run loses the scores of this time, which are not cached yet."""

T = TypeVar("T")


def _slow_rounds(patience_s: float, timeout_s: float) -> int:
    """How often one sample may time out: as long as the server's patience, but not without end."""
    return min(_MOST_SLOW_ROUNDS, max(_ROUNDS, math.ceil(patience_s / timeout_s)))


class ScoreStore(Protocol):
    """A cache of scores; see :class:`crossdistill.teachers.served.ScoreCache`."""

    def key(self, teacher: str, ids: Sequence[int], top_k: int) -> bytes: ...

    def get(self, key: bytes) -> PromptLogprobs | None: ...

    def put(self, key: bytes, value: PromptLogprobs) -> None: ...


@dataclass(frozen=True)
class ScoreRequest:
    """A response to score.

    Attributes:
        prompt: token ids.
        response: token ids.
        stopped: whether the log-probabilities of all stop tokens after the response are wanted.
        top_k: most probable tokens wanted at each position, including the one after the response; 0 for none.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    stopped: bool
    top_k: int

    @property
    def includes_end(self) -> bool:
        """Whether the position after the response is wanted."""
        return self.stopped or self.top_k > 0


@dataclass(frozen=True)
class ScoreResult:
    """The scores of a request.

    Attributes:
        rows: of the response and, if the request includes the end, of the first stop token after it.
        stop_logprobs: nats of all stop tokens after the response, float32 [stop tokens]; empty unless the request is
            `stopped`.
    """

    rows: PromptLogprobs
    stop_logprobs: np.ndarray


class Unscorable(Exception):  # noqa: N818 - of one sample: the others go on
    """The server scores other samples, but not this one.

    Attributes:
        reason: under which it is dropped.
    """

    def __init__(self, reason: DropReason):
        super().__init__(reason)
        self.reason = reason


class ServerScorer:
    """Scores requests with one server, in one event loop.

    Another model can take the server's place without any connection breaking. So a result counts, and goes into the
    cache, only when the fingerprint has been found the same *after* it. The states of a request::

        waiting ── in the cache ─────────────────────────────────────────────► scored
           │
           ├── longer than the server's context ─────────────────────────────► dropped
           ▼
        sent ── answered ──► unverified ── the fingerprint is the same ──────► scored, cached
         ▲ │
         │ failed (_TRIES times in a row, or once if refused or timed out)
         │ ▼
         │ checked ── the fingerprint is another, or nobody answers ─────────► TeacherError, which ends the call
         │ │
         │ the fingerprint is the same: the server is well, the request may be at fault
         │ │
         └─┴── refused, busy until patience is spent, or enough rounds ──────► dropped

    Args:
        client: sends one request.
        retry: sends requests again.
        health: checks the fingerprint.
        capabilities: of the server.
        stop_ids: of the teacher.
        traffic: counts cache hits and retries.
        options: time-outs, patience and requests in flight.
        cache: keeps scores; None for no cache.
        teacher_key: identifies this teacher in the cache.
    """

    def __init__(
        self,
        client: ScoringClient,
        retry: RetryPolicy,
        health: Health,
        capabilities: Capabilities,
        stop_ids: Sequence[int],
        traffic: Traffic,
        options: ServedOptions,
        cache: ScoreStore | None = None,
        teacher_key: str = "",
    ):
        self._client = client
        self._retry = retry
        self._health = health
        self._capabilities = capabilities
        self._stop_ids = tuple(stop_ids)
        self._traffic = traffic
        self._slow_rounds = _slow_rounds(options.patience_s, options.timeout_s)
        # more than can be in flight, because some wait to be sent again; few enough that a check needs no long wait
        self._in_progress = asyncio.Semaphore(2 * options.max_in_flight)
        self._cache = cache
        self._teacher_key = teacher_key
        self._warned: set[DropReason] = set()
        self._deadline_s: float | None = None
        self._timeouts: set[asyncio.Timeout] = set()
        self._answered_at = float("-inf")
        self._unverified: deque[tuple[float, bytes, PromptLogprobs]] = deque()  # (answered at, key, row for the cache)

    async def score(self, requests: Sequence[ScoreRequest]) -> dict[ScoreRequest, ScoreResult | DropReason]:
        """Score requests, the longest first: a long one that began last would be waited for alone.

        Raises:
            TeacherUnavailableError: the server does not answer, or the deadline has passed.
            TeacherChangedError: another model answers. What was verified before is in the cache.
        """
        timeout = asyncio.timeout(self._deadline_s)
        self._timeouts.add(timeout)
        try:
            async with timeout:
                return await self._score_all(requests)
        except TimeoutError:
            raise TeacherUnavailableError("the run was told to stop before its teacher had answered.") from None
        finally:
            self._timeouts.remove(timeout)

    def set_deadline(self, seconds: float) -> None:
        """Make running and later calls of :meth:`score` raise TeacherUnavailableError after that many seconds each."""
        self._deadline_s = seconds
        for timeout in self._timeouts:
            timeout.reschedule(asyncio.get_running_loop().time() + seconds)

    async def _score_all(self, requests: Sequence[ScoreRequest]) -> dict[ScoreRequest, ScoreResult | DropReason]:
        order = sorted(requests, key=lambda request: -len(request.prompt) - len(request.response))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {request: group.create_task(self._score_one(request)) for request in order}
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if self._answered_at > self._health.verified_at:
            await self._health.check(self._retry.clock())
            self._cache_verified()
        return {request: task.result() for request, task in tasks.items()}

    async def _score_one(self, request: ScoreRequest) -> ScoreResult | DropReason:
        ids = request.prompt + request.response
        if request.includes_end:
            ids += self._stop_ids[:1]
        try:
            async with self._in_progress:
                rows = await self._prompt_logprobs(ids, request.top_k, len(request.prompt) - 1)
                other_stops = await self._other_stop_logprobs(request) if request.stopped else []
        except Unscorable as unscorable:
            return unscorable.reason
        first_stop = rows.logprobs[-1:] if request.stopped else rows.logprobs[:0]
        return ScoreResult(rows, np.concatenate([first_stop, *other_stops]))

    async def _other_stop_logprobs(self, request: ScoreRequest) -> list[np.ndarray]:
        """Nats of all stop tokens but the first after the response, in one request or in one each."""
        ids, others = request.prompt + request.response, self._stop_ids[1:]
        if not others:
            return []
        if self._capabilities.can_next:
            return [await self._next_logprobs(ids, others)]
        return [(await self._prompt_logprobs((*ids, stop), 0, len(ids) - 1)).logprobs for stop in others]

    async def _prompt_logprobs(self, ids: Sequence[int], top_k: int, first: int) -> PromptLogprobs:
        """The rows of `ids` from `first` on; nothing is asked if there are none."""
        if len(ids) < first + 2:
            return PromptLogprobs(np.zeros(0, dtype=np.float32))
        name = f"{self._teacher_key} from {first}" if first else self._teacher_key
        return await self._cached_or_sent(name, ids, top_k, partial(self._client.score, ids, top_k, first))

    async def _next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
        async def send() -> PromptLogprobs:
            logprobs = await self._client.next(ids, wanted)
            assert logprobs is not None  # the probe has seen that it can
            return PromptLogprobs(logprobs)

        return (await self._cached_or_sent(f"{self._teacher_key} next {wanted}", ids, 0, send)).logprobs

    async def _cached_or_sent(
        self, name: str, ids: Sequence[int], top_k: int, send: Callable[[], Awaitable[PromptLogprobs]]
    ) -> PromptLogprobs:
        """The row that the cache has under this name, or the answer of the server."""
        if self._cache is None:
            return await self._send_until_settled(ids, send)
        key = self._cache.key(name, ids, top_k)
        cached = self._cache.get(key)
        if cached is not None:
            self._traffic.cache_hits += 1
            return cached
        row = await self._send_until_settled(ids, send)
        self._unverified.append((self._answered_at, key, row))
        self._cache_verified()
        return row

    def _cache_verified(self) -> None:
        """Put those rows into the cache that were answered before the fingerprint was last verified."""
        while self._cache is not None and self._unverified and self._unverified[0][0] < self._health.verified_at:
            _, key, row = self._unverified.popleft()
            self._cache.put(key, row)

    async def _send_until_settled(self, ids: Sequence[int], send: Callable[[], Awaitable[T]]) -> T:
        """Send a request until it is answered, or until it is certain that the sample is at fault and not the server.

        That is certain if the server, whose health is checked in between, fails again and again or refuses the sample.
        """
        most = self._capabilities.max_length
        if most is not None and len(ids) + self._client.dialect.num_generated > most:
            raise Unscorable(DropReason.TEACHER_CONTEXT)
        failures: Counter[bool] = Counter()  # time-outs (True) and other failures (False)
        while True:
            try:
                found = await self._retry(send, _TRIES)
                await self._health.check_if_lost()
                self._answered_at = self._retry.clock()
                await self._health.check(self._answered_at - _TRUSTED_S)
                return found
            except (Transient, Refused) as failure:
                await self._health.check(self._retry.clock())
                failures[isinstance(failure, TooSlow)] += 1
                is_enough = failures[True] == self._slow_rounds or failures[False] == _ROUNDS
                # a busy server has been waited for until patience was spent
                if is_enough or isinstance(failure, Refused) or failure.is_busy:
                    raise self._unscorable(ids, failure) from None
                self._traffic.retries += 1

    def _unscorable(self, ids: Sequence[int], failure: Transient | Refused) -> Unscorable:
        reason = drop_reason(failure)
        if reason not in self._warned:
            self._warned.add(reason)
            _LOGGER.warning(
                "the teacher's server cannot score a sample of %d tokens (%s): the sample is dropped and counted as "
                "%s, as others like it will be without another warning.", len(ids), failure, reason,
            )  # fmt: skip
        return Unscorable(reason)
