"""Scoring in a background thread, for a teacher that computes elsewhere while this process does something else."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from crossdistill.align import DropReason
from crossdistill.teachers.base import TeacherRequest, TeacherScore

Answers = list[TeacherScore | DropReason]
Score = Callable[[Sequence[TeacherRequest]], Answers]


@dataclass
class _Batch:
    """Requests of one call, and its future answers."""

    requests: list[TeacherRequest] = field(default_factory=list)
    answers: Future[Answers] = field(default_factory=Future)


class BackgroundScorer:
    """Scores in one thread, batch after batch. Requests that arrive during a batch make up the next one.

    So a server has much to do at once, however few responses are sampled at a time.

    Args:
        score: a teacher's scoring; called in the thread.
    """

    def __init__(self, score: Score):
        self._score = score
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crossdistill-teacher")
        self._lock = threading.Lock()
        self._next: _Batch | None = None

    def submit(self, requests: Sequence[TeacherRequest]) -> Callable[[], Answers]:
        """Submit requests; returns at once.

        Returns:
            A function that waits for the answers and returns them in order, or raises what the teacher raised.
        """
        with self._lock:
            if self._next is None:
                self._next = _Batch()
                self._next.answers = self._thread.submit(self._answers, self._next)
            batch, first = self._next, len(self._next.requests)
            batch.requests.extend(requests)
        return lambda: batch.answers.result()[first : first + len(requests)]

    def cancel(self) -> None:
        """Drop what has not begun, and wait no longer for what has."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answers(self, batch: _Batch) -> Answers:
        with self._lock:
            self._next = None
        return self._score(batch.requests)
