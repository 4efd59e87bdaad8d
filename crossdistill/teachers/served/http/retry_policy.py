"""When a failed request is sent again, and when to give up."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers.served.http.errors import Refused, TooSlow, Transient
from crossdistill.teachers.served.http.traffic import Traffic

_LOGGER = logging.getLogger("crossdistill")
_FIRST_WAIT, _LONGEST_WAIT = 1 / 1200, 1 / 20  # shares of the patience: 0.5 s and 30 s of ten minutes
_WARN_AFTER = 3

T = TypeVar("T")


class RetryPolicy:
    """Retries with exponential back-off and jitter, until patience is spent.

    Patience covers an outage, not a request: the outage begins with a failure and ends with the first success of any
    request. Retry-After of the server is obeyed as far as patience allows.

    Args:
        url: of the server, for messages.
        patience_s: seconds that an outage may last.
        traffic: counts retries and waits.
        clock: seconds, monotonic.
        sleep: waits for some seconds.
        what: what messages call the model behind the server.

    Attributes:
        lost_at: when a connection last broke, by `clock`; -inf if none did.
        clock: see above.
    """

    def __init__(
        self,
        url: str,
        patience_s: float,
        traffic: Traffic,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        what: str = "teacher",
    ):
        self.lost_at = float("-inf")
        self.clock = clock
        self._url = url
        self._what = what
        self._patience_s = patience_s
        self._traffic = traffic
        self._sleep = sleep
        self._backoff = wait_random_exponential(_FIRST_WAIT * patience_s, _LONGEST_WAIT * patience_s)
        self._failing_since: float | None = None
        self._has_warned = False

    async def __call__(self, attempt: Callable[[], Awaitable[T]], tries: int | None = None) -> T:
        """Call `attempt` until it succeeds, and return its result.

        Args:
            attempt: sends one request.
            tries: failures after which to give up. A busy server does not count as a failure, a time-out counts as all
                of them. None: try until patience is spent.

        Raises:
            TeacherUnavailableError: patience is spent; without `tries` only.
            Transient: the last failure, after `tries` of them or when patience is spent: the request may be at fault,
                or the server. With `tries` only.
            Refused: at once, as is anything else that `attempt` raises.
        """
        policy = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            wait=self._wait_s,
            stop=self._stop_after(tries),
            before_sleep=self._before_sleep,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await policy(self._observed, attempt)
        except Transient as failure:
            if tries is not None:
                raise
            raise TeacherUnavailableError(
                f"the {self._what} at {self._url} gave no usable answer for {self._patience_s:g} s; the last failure: "
                f"{failure}. Start the server again and resume the run, or raise patience_s."
            ) from None

    async def _observed(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await attempt()
        except Transient as failure:
            if failure.is_lost:
                self.lost_at = self.clock()
            if self._failing_since is None:
                self._failing_since = self.clock()
            raise
        except Refused:
            self._end_outage()  # a server that refuses is there
            raise
        self._end_outage()
        return result

    def _end_outage(self) -> None:
        self._failing_since, self._has_warned = None, False

    def _left_s(self) -> float:
        if self._failing_since is None:
            return self._patience_s
        return self._patience_s - (self.clock() - self._failing_since)

    def _wait_s(self, state: RetryCallState) -> float:
        asked = _failure(state).retry_after_s or 0.0
        return max(0.0, min(max(self._backoff(state), asked), self._left_s()))

    def _stop_after(self, tries: int | None) -> Callable[[RetryCallState], bool]:
        own_failures = 0

        def stop(state: RetryCallState) -> bool:
            nonlocal own_failures
            failure = _failure(state)
            own_failures += not failure.is_busy
            is_enough = tries is not None and (own_failures >= tries or isinstance(failure, TooSlow))
            return is_enough or self._left_s() <= 0

        return stop

    def _before_sleep(self, state: RetryCallState) -> None:
        assert state.next_action is not None
        self._traffic.retries += 1
        self._traffic.waited_s += state.next_action.sleep
        if state.attempt_number >= _WARN_AFTER and not self._has_warned:
            self._has_warned = True
            _LOGGER.warning(
                "the %s at %s gives no usable answer (%s): the run waits for it, for at most %.0f s more.",
                self._what, self._url, _failure(state), self._left_s(),
            )  # fmt: skip


def _failure(state: RetryCallState) -> Transient:
    assert state.outcome is not None
    failure = state.outcome.exception()
    assert isinstance(failure, Transient)
    return failure
