"""Many questions at once, each answered or given up under a reason."""

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
from crossdistill.teachers.served.api.client import ScoringClient
from crossdistill.teachers.served.api.dialect import PromptLogprobs
from crossdistill.teachers.served.health import Health
from crossdistill.teachers.served.http.errors import Refused, TooSlow, Transient, drop_reason
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.probe import Capabilities

_LOGGER = logging.getLogger("crossdistill")
_TRIES, _ROUNDS = 3, 3
_MOST_SLOW_TRIES = _TRIES * _ROUNDS
_BELIEVED_S = 30.0
"""How long the server is taken for the one that it was: what a run that is killed has not yet put into the cache."""

T = TypeVar("T")


def _slow_tries(patience_s: float, timeout_s: float) -> int:
    """How often a single sample may take all its time: for as long as a server is waited for, but not for ever."""
    return min(_MOST_SLOW_TRIES, max(_ROUNDS, math.ceil(patience_s / timeout_s)))


class ScoreStore(Protocol):
    """A cache of scores; see :class:`crossdistill.teachers.served.ScoreCache`."""

    def key(self, fingerprint: str, ids: Sequence[int], top_k: int) -> bytes: ...

    def get(self, key: bytes) -> PromptLogprobs | None: ...

    def put(self, key: bytes, value: PromptLogprobs) -> None: ...


@dataclass(frozen=True)
class ScoreRequest:
    """A response whose scores are wanted.

    prompt, response: token ids. stopped: with the mass of the stop tokens after it. top_k: with so many tokens at each
    position, also after the response.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    stopped: bool
    top_k: int

    @property
    def looks_beyond(self) -> bool:
        """Whether what follows the response is wanted."""
        return self.stopped or self.top_k > 0


@dataclass(frozen=True)
class ScoreResult:
    """rows: of the response and, where the question looks beyond it, of the first stop token after it.

    stop_logprobs: nats of all stop tokens, float32; empty where they were not asked for.
    """

    rows: PromptLogprobs
    stop_logprobs: np.ndarray


class Unscorable(Exception):  # noqa: N818 - of one sample: the others go on
    """The server scores other samples, and not this one."""

    def __init__(self, reason: DropReason):
        super().__init__(reason)
        self.reason = reason


class ServerScorer:
    """Asks, in one event loop.

    Another model can take the place of the server's without a connection that breaks. So what was answered counts, and
    goes into the cache, once the reference text has been scored as ever *after* it.

    Args:
        options: how long and how much is asked for.
        cache: with `fingerprint`, the name of this teacher in it.
    """

    def __init__(
        self,
        asker: ScoringClient,
        retrying: RetryPolicy,
        health: Health,
        capability: Capabilities,
        stop_ids: Sequence[int],
        traffic: Traffic,
        options: ServedOptions,
        cache: ScoreStore | None = None,
        fingerprint: str = "",
    ):
        self._asker = asker
        self._retrying = retrying
        self._health = health
        self._capability = capability
        self._stop_ids = tuple(stop_ids)
        self._traffic = traffic
        self._slow_tries = _slow_tries(options.patience_s, options.timeout_s)
        # more than are in flight, for those that wait to try again; so few that a check is not the last in line
        self._begun = asyncio.Semaphore(2 * options.max_in_flight)
        self._cache = cache
        self._fingerprint = fingerprint
        self._told: set[DropReason] = set()
        self._most_s: float | None = None
        self._limits: set[asyncio.Timeout] = set()
        self._answered_at = float("-inf")
        self._unsure: deque[tuple[float, bytes, PromptLogprobs]] = deque()  # rows for the cache, and when they came

    async def answers(self, questions: Sequence[ScoreRequest]) -> dict[ScoreRequest, ScoreResult | DropReason]:
        """The longest are asked first: a long one that begins last would be waited for alone.

        Raises TeacherUnavailableError or TeacherChangedError; what was sure before is in the cache.
        """
        limit = asyncio.timeout(self._most_s)
        self._limits.add(limit)
        try:
            async with limit:
                return await self._answers(questions)
        except TimeoutError:
            raise TeacherUnavailableError("the run was told to stop, and its teacher had not answered yet.") from None
        finally:
            self._limits.remove(limit)

    def set_deadline(self, seconds: float) -> None:
        """From now on `answers` takes so long at most, and TeacherUnavailableError otherwise."""
        self._most_s = seconds
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time() + seconds)

    async def _answers(self, questions: Sequence[ScoreRequest]) -> dict[ScoreRequest, ScoreResult | DropReason]:
        order = sorted(questions, key=lambda question: -len(question.prompt) - len(question.response))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {question: group.create_task(self._answer(question)) for question in order}
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if self._answered_at > self._health.well_at:
            await self._health.check(self._retrying.clock())
            self._keep_what_is_sure()
        return {question: task.result() for question, task in tasks.items()}

    async def _answer(self, question: ScoreRequest) -> ScoreResult | DropReason:
        ids = question.prompt + question.response
        if question.looks_beyond:
            ids += self._stop_ids[:1]
        try:
            async with self._begun:
                scored = await self._score(ids, question.top_k)
                rows = _rows_from(scored, len(question.prompt) - 1)
                others = await self._other_stops(question) if question.stopped else []
        except Unscorable as unscorable:
            return unscorable.reason
        first = rows.logprobs[-1:] if question.stopped else rows.logprobs[:0]
        return ScoreResult(rows, np.concatenate([first, *others]))

    async def _other_stops(self, question: ScoreRequest) -> list[np.ndarray]:
        """Log-probabilities after the response of all stop tokens but the first."""
        ids, others = question.prompt + question.response, self._stop_ids[1:]
        if not others:
            return []
        if self._capability.can_next:
            return [await self._next(ids, others)]
        return [(await self._score((*ids, stop), 0)).logprobs[-1:] for stop in others]

    async def _score(self, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        if len(ids) < 2:
            return PromptLogprobs(np.zeros(0, dtype=np.float32))
        return await self._kept(self._fingerprint, ids, top_k, partial(self._asker.score, ids, top_k))

    async def _next(self, ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
        async def ask() -> PromptLogprobs:
            logprobs = await self._asker.next(ids, wanted)
            assert logprobs is not None  # the probe has seen that it can
            return PromptLogprobs(logprobs)

        return (await self._kept(f"{self._fingerprint} next {wanted}", ids, 0, ask)).logprobs

    async def _kept(
        self, name: str, ids: Sequence[int], top_k: int, ask: Callable[[], Awaitable[PromptLogprobs]]
    ) -> PromptLogprobs:
        """From the cache under this name, or asked for."""
        if self._cache is None:
            return await self._asked(ids, ask)
        key = self._cache.key(name, ids, top_k)
        kept = self._cache.get(key)
        if kept is not None:
            self._traffic.cache_hits += 1
            return kept
        found = await self._asked(ids, ask)
        self._unsure.append((self._answered_at, key, found))
        self._keep_what_is_sure()
        return found

    def _keep_what_is_sure(self) -> None:
        while self._cache is not None and self._unsure and self._unsure[0][0] < self._health.well_at:
            _, key, found = self._unsure.popleft()
            self._cache.put(key, found)

    async def _asked(self, ids: Sequence[int], ask: Callable[[], Awaitable[T]]) -> T:
        """Asks until it is answered, or until it is clear that the sample is at fault and not the server.

        The latter is clear when the server, found well in between, fails at it again and again, or refuses it.
        """
        most = self._capability.max_length
        if most is not None and len(ids) + self._asker.dialect.num_generated > most:
            raise Unscorable(DropReason.TEACHER_CONTEXT)
        failures: Counter[bool] = Counter()  # those that took all their time, and the others
        while True:
            try:
                found = await self._retrying(ask, _TRIES)
                await self._health.check_if_lost()
                self._answered_at = self._retrying.clock()
                await self._health.check(self._answered_at - _BELIEVED_S)
                return found
            except (Transient, Refused) as failure:
                await self._health.check(self._retrying.clock())
                failures[isinstance(failure, TooSlow)] += 1
                is_enough = failures[True] == self._slow_tries or failures[False] == _ROUNDS
                if is_enough or isinstance(failure, Refused) or failure.is_busy:  # the latter for all the patience
                    raise self._unscorable(ids, failure) from None
                self._traffic.retries += 1

    def _unscorable(self, ids: Sequence[int], failure: Transient | Refused) -> Unscorable:
        reason = drop_reason(failure)
        if reason not in self._told:
            self._told.add(reason)
            _LOGGER.warning(
                "the teacher's server cannot score a sample of %d tokens (%s): it is dropped, as others will be, and "
                "counted as %s.", len(ids), failure, reason,
            )  # fmt: skip
        return Unscorable(reason)


def _rows_from(scored: PromptLogprobs, first: int) -> PromptLogprobs:
    """As copies, so that the prompt's rows are not kept."""
    rows = scored.logprobs[first:].copy()
    if scored.top_ids is None or scored.top_logprobs is None:
        return PromptLogprobs(rows)
    return PromptLogprobs(rows, scored.top_ids[first:].copy(), scored.top_logprobs[first:].copy())
