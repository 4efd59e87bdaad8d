"""A teacher in a thread: what waits is asked together, and everybody gets the own answers."""

import threading
import time

import pytest

from crossdistill.distill.background import BackgroundScorer
from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers import TeacherRequest

WAIT_S = 20


def requests(first: int, last: int) -> list[TeacherRequest]:
    return [TeacherRequest([k], [k], False) for k in range(first, last)]


class Slow:
    """Answers with the prompt's first token, once it may; notes what it was asked at once."""

    def __init__(self):
        self.began, self.may = threading.Event(), threading.Event()
        self.asked: list[list[int]] = []

    def __call__(self, asked):
        self.asked.append([request.prompt_ids[0] for request in asked])
        self.began.set()
        assert self.may.wait(WAIT_S)
        if 13 in self.asked[-1]:
            raise TeacherUnavailableError("gone")
        return list(self.asked[-1])


def test_what_comes_meanwhile_is_asked_together():
    score = Slow()
    background = BackgroundScorer(score)
    answers = [background.submit(requests(0, 2))]
    assert score.began.wait(WAIT_S)
    answers += [background.submit(requests(*span)) for span in [(2, 3), (3, 3), (3, 7)]]
    score.may.set()
    assert [answer() for answer in reversed(answers)] == [[3, 4, 5, 6], [], [2], [0, 1]]
    assert score.asked == [[0, 1], [2, 3, 4, 5, 6]]
    assert background.submit(requests(7, 8))() == [7]
    background.cancel()


def test_all_who_asked_are_told_what_failed():
    score = Slow()
    background = BackgroundScorer(score)
    first = background.submit(requests(0, 1))
    assert score.began.wait(WAIT_S)
    others = [background.submit(requests(12, 13)), background.submit(requests(13, 14))]
    score.may.set()
    assert first() == [0]
    for answer in others:
        with pytest.raises(TeacherUnavailableError, match="gone"):
            answer()


def test_what_is_cancelled_does_not_wait():
    score = Slow()
    background = BackgroundScorer(score)
    background.submit(requests(0, 1))
    assert score.began.wait(WAIT_S)
    background.submit(requests(1, 2))
    began = time.monotonic()
    background.cancel()
    assert time.monotonic() - began < WAIT_S / 2
    score.may.set()
    background._thread.shutdown(wait=True)
    assert score.asked == [[0]]
