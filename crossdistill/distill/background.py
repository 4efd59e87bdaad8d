"""A teacher that computes elsewhere, asked while this process does something else."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from crossdistill.align import DropReason
from crossdistill.teachers import TeacherRequest, TeacherScore

Answers = list[TeacherScore | DropReason]
Score = Callable[[Sequence[TeacherRequest]], Answers]


@dataclass
class _Batch:
    """What is asked at once."""

    requests: list[TeacherRequest] = field(default_factory=list)
    answers: Future[Answers] = field(default_factory=Future)


class BackgroundScorer:
    """Asks in one thread, batch after batch. What comes while it waits for a batch makes up the next one.

    So a server has much to do at once, however few responses are sampled at a time.

    Args:
        score: of a teacher, called in the thread.
    """

    def __init__(self, score: Score):
        self._score = score
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crossdistill-teacher")
        self._lock = threading.Lock()
        self._next: _Batch | None = None

    def ask(self, requests: Sequence[TeacherRequest]) -> Callable[[], Answers]:
        """Returns at once; what it returns waits for the answers, in order, and raises what the teacher raised."""
        with self._lock:
            if self._next is None:
                self._next = _Batch()
                self._next.answers = self._thread.submit(self._answers, self._next)
            batch, first = self._next, len(self._next.requests)
            batch.requests.extend(requests)
        return lambda: batch.answers.result()[first : first + len(requests)]

    def abandon(self) -> None:
        """Wait no longer for anything that was asked."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answers(self, batch: _Batch) -> Answers:
        with self._lock:
            self._next = None
        return self._score(batch.requests)
