"""Examines a served teacher: its capabilities and its throughput."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from crossdistill.inspection import corpus
from crossdistill.runs.config import read_config
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from crossdistill.tokens import ByteVocab

PATIENCE_S = 20.0  # shorter than in a run: a user is waiting
SECONDS = 5.0
LENGTH = 512
DEFAULT_LENGTH = 128  # if the length of the context is unknown
_RESERVED = 8  # tokens of the context for a stop token and for those that the server generates


@dataclass(frozen=True)
class Rate:
    """Throughput at one level of concurrency.

    Attributes:
        num_requests: sent at once.
        tokens_per_s: scored tokens per second.
    """

    num_requests: int
    tokens_per_s: float


def settings(model: str | None, overrides: Sequence[str]) -> ServedOptions:
    """Read the settings of the server from the command line; patience is short by default.

    Args:
        model: the teacher's name on the server; None for the only model.
        overrides: ``key=value`` settings.

    Raises:
        InputError: an unknown key or a wrong value.
    """
    options = read_config(ServedOptions, None, overrides, {"model": model})
    is_chosen = "patience_s" in options.model_fields_set
    return options if is_chosen else options.model_copy(update={"patience_s": PATIENCE_S})


def examine(url: str, tokenizer: Any, declared_stops: Sequence[int], options: ServedOptions) -> list[str]:
    """Probe a server and measure its throughput.

    Args:
        url: of the server.
        tokenizer: the teacher's.
        declared_stops: stop tokens that its model declares.
        options: settings of the server.

    Returns:
        The findings, as lines of the form "subject: finding".

    Raises:
        InputError: the server cannot teach.
        TeacherUnavailableError: nobody answers.
    """
    teacher = ServedTeacher(url, tokenizer, options, declared_stops=declared_stops)
    try:
        found = teacher.capabilities
        length = DEFAULT_LENGTH if found.max_length is None else min(LENGTH, found.max_length - _RESERVED)
        return [*found.findings, in_words(measure(teacher, length, options.max_in_flight, SECONDS), length)]
    finally:
        teacher.close()


def measure(teacher: Teacher, length: int, max_requests: int, seconds: float) -> list[Rate]:
    """Measure the throughput with one request of `length` tokens, then with twice as many at once, and so on.

    Args:
        teacher: to measure.
        length: tokens of a request.
        max_requests: most requests at once.
        seconds: the measurement ends after the round in which they have passed.

    Returns:
        One rate for each number of requests: that of its best round.
    """
    requests, best = _requests(teacher.vocab, length), dict[int, float]()
    end, size = time.monotonic() + seconds, 1
    while True:
        batch = list(islice(requests, size))
        start = time.monotonic()
        scores = teacher.score(batch)
        elapsed = time.monotonic() - start
        num_scored = sum(len(score.logprobs) for score in scores if isinstance(score, TeacherScore))
        best[size] = max(best.get(size, 0.0), num_scored / elapsed)
        if time.monotonic() >= end:
            return [Rate(size, rate) for size, rate in best.items()]
        size = min(2 * size, max_requests)


def in_words(rates: list[Rate], length: int) -> str:
    """Describe rates in one line."""
    if not any(rate.tokens_per_s for rate in rates):
        return f"throughput: none, because no request of {length} tokens was scored"
    shown = ", ".join(f"{rate.tokens_per_s:,.0f} with {rate.num_requests}" for rate in rates)
    return f"throughput: scored tokens a second, by the number of requests of {length} tokens at once: {shown}"


def _requests(vocab: ByteVocab, length: int) -> Iterator[TeacherRequest]:
    """Different pieces of the built-in corpus: equal requests would be sent once."""
    ids = vocab.encode(b"\n".join(document.data for document in corpus())).ids.tolist()
    for start in count(step=length // 2 + 1):
        piece = ids[start % (len(ids) - length) :][:length]
        yield TeacherRequest(piece[:1], piece[1:], stopped=False)
