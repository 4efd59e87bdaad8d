"""When a request is sent again, by a clock that advances only while sleeping."""

import asyncio
import logging

import pytest

from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers.served.http.errors import Malformed, Refused, Transient
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.http.traffic import Traffic

PATIENCE = 100.0


class Clock:
    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def policy_of(clock, patience=PATIENCE):
    traffic = Traffic()
    return RetryPolicy("http://there", patience, traffic, clock, clock.sleep), traffic


def script(*outcomes, clock=None, takes=0.0):
    """Each call returns or raises the next outcome; the last one forever."""
    left = list(outcomes)
    calls = []

    async def attempt():
        calls.append(None)
        if clock is not None:
            clock.now += takes
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    attempt.calls = calls
    return attempt


def test_failures_are_retried_and_counted():
    clock = Clock()
    retry, traffic = policy_of(clock)
    assert asyncio.run(retry(script(Transient("a"), Malformed("b"), "done"))) == "done"
    assert len(clock.slept) == 2
    assert traffic.retries == 2
    assert traffic.waited_s == pytest.approx(sum(clock.slept))


def test_waits_grow_are_drawn_at_random_and_are_bounded():
    firsts, longest = set(), 0.0
    for _ in range(20):
        clock = Clock()
        retry, _ = policy_of(clock, patience=600.0)
        asyncio.run(retry(script(*[Transient("down")] * 12, "done")))
        assert all(wait <= min(0.5 * 2**k, 30.0) for k, wait in enumerate(clock.slept))
        firsts.add(clock.slept[0])
        longest = max(longest, *clock.slept)
    assert len(firsts) == 20
    assert longest > 15


def test_retry_after():
    clock = Clock()
    retry, _ = policy_of(clock)
    asyncio.run(retry(script(Transient("busy", retry_after_s=40.0), "done")))
    assert clock.slept == [40.0]


def test_retry_after_is_obeyed_as_far_as_patience_allows():
    clock = Clock()
    retry, _ = policy_of(clock)
    assert asyncio.run(retry(script(Transient("busy", retry_after_s=1e6), "done"))) == "done"
    assert clock.slept == [PATIENCE]


def test_patience_ends():
    clock = Clock()
    retry, _ = policy_of(clock)
    with pytest.raises(TeacherUnavailableError, match=r"http://there gave no usable answer for 100 s.*: out of order"):
        asyncio.run(retry(script(Transient("out of order"))))
    assert clock.now == pytest.approx(PATIENCE)


def test_patience_is_of_the_whole_outage():
    """Neither a second request that fails nor a later one begins a new outage."""
    clock = Clock()
    retry, _ = policy_of(clock)
    with pytest.raises(Transient, match="one"):
        asyncio.run(retry(script(Transient("one", retry_after_s=40.0)), tries=2))
    assert clock.now == 40.0
    with pytest.raises(TeacherUnavailableError, match="two"):
        asyncio.run(retry(script(Transient("two"))))
    assert clock.now == pytest.approx(PATIENCE)


@pytest.mark.parametrize("sign", ["done", Refused(400, "no")])
def test_any_answer_ends_the_outage(sign):
    clock = Clock()
    retry, _ = policy_of(clock)
    with pytest.raises(Transient):
        asyncio.run(retry(script(Transient("one", retry_after_s=60.0)), tries=2))
    try:
        asyncio.run(retry(script(sign)))
    except Refused:
        assert sign != "done"
    with pytest.raises(TeacherUnavailableError):
        asyncio.run(retry(script(Transient("two"))))
    assert clock.now == pytest.approx(60.0 + PATIENCE)


def test_a_busy_server_does_not_count_as_a_failure():
    clock = Clock()
    retry, _ = policy_of(clock)
    busy, own = Transient("busy", is_busy=True), Malformed("other shape")
    attempt = script(own, busy, busy, busy, busy, own, own, "done")
    with pytest.raises(Malformed):
        asyncio.run(retry(attempt, tries=3))
    assert len(attempt.calls) == 7


def test_a_refusal_is_not_retried():
    clock = Clock()
    retry, traffic = policy_of(clock)
    with pytest.raises(Refused):
        asyncio.run(retry(script(Refused(400, "no"))))
    assert clock.slept == []
    assert traffic.retries == 0


def test_when_a_connection_was_lost():
    clock = Clock()
    retry, _ = policy_of(clock)
    assert retry.lost_at == float("-inf")
    asyncio.run(retry(script(Transient("500"), Malformed("x"), "done")))
    assert retry.lost_at == float("-inf")
    clock.now = 7.0
    asyncio.run(retry(script(Transient("reset", is_lost=True), "done")))
    assert retry.lost_at == 7.0


def test_a_long_outage_causes_one_warning(caplog):
    clock = Clock()
    retry, _ = policy_of(clock)
    with caplog.at_level(logging.WARNING, "crossdistill"):
        asyncio.run(retry(script(Transient("x"), Transient("x"), "done")))
        assert not caplog.records
        asyncio.run(retry(script(*[Transient("connection refused")] * 6, "done")))
    assert [record.getMessage().count("connection refused") for record in caplog.records] == [1]


def test_with_tries_it_is_left_open_whose_fault_it_was():
    clock = Clock()
    retry, _ = policy_of(clock)
    slow = script(Transient("slow"), clock=clock, takes=60.0)
    with pytest.raises(Transient, match="slow"):
        asyncio.run(retry(slow, tries=99))
    assert PATIENCE <= clock.now < PATIENCE + 120
    assert asyncio.run(retry(script("well"))) == "well"
