"""A log of the requests that the server received."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


@dataclass
class Seen:
    """One request.

    Attributes:
        method: of HTTP.
        target: path and query.
        headers: of the request.
        raw: its body.
        body: the parsed body.
        arrived: by the monotonic clock.
        concurrent: requests to the same path that were being answered when it arrived, itself included.
        ids: of the prompt, if it asks for completions.
        status: of the answer; None before the answer, and if the connection was cut instead.
        fault: name of the fault that it met.
        is_answered: whether it no longer counts as being answered.
    """

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    body: Any
    arrived: float
    concurrent: int
    ids: tuple[int, ...] = ()
    status: int | None = None
    fault: str | None = None
    is_answered: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def scores(self) -> bool:
        """Whether it asks for log-probabilities of a prompt."""
        return self.path == COMPLETIONS and (
            self.body.get("prompt_logprobs") is not None or bool(self.body.get("echo"))
        )


class Log:
    """Requests in order of arrival."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self._busy: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def entry(self, method: str, target: str, headers: dict[str, str], raw: bytes, body: Any) -> Iterator[Seen]:
        path = target.partition("?")[0]
        with self._lock:
            self._busy[path] = self._busy.get(path, 0) + 1
            seen = Seen(method, target, headers, raw, body, time.monotonic(), self._busy[path])
            self.requests.append(seen)
        try:
            yield seen
        finally:
            self.answered(seen)

    def answered(self, seen: Seen) -> None:
        """It no longer counts as being answered; called before the client can know."""
        with self._lock:
            if not seen.is_answered:
                seen.is_answered = True
                self._busy[seen.path] -= 1

    def clear(self) -> None:
        with self._lock:
            self.requests = []

    def completions(self) -> list[Seen]:
        return [seen for seen in list(self.requests) if seen.path == COMPLETIONS]

    def scored(self) -> list[Seen]:
        """Requests for the log-probabilities of a prompt, failed ones included."""
        return [seen for seen in list(self.requests) if seen.scores]

    def most_concurrent(self) -> int:
        return max((seen.concurrent for seen in self.completions()), default=0)
