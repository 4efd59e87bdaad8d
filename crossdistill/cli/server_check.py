"""Examines a served teacher: its capabilities, whether its scores are to be trusted, and its throughput."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from crossdistill.cli import server_agreement
from crossdistill.errors import InputError
from crossdistill.inspection import corpus
from crossdistill.runs.config import read_config
from crossdistill.teachers import LocalTeacher, Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from crossdistill.teachers.served.api.client import models_at_first
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Refused, Transient, shown
from crossdistill.teachers.served.http.loop_thread import LoopThread
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


def listed(url: str, options: ServedOptions) -> str:
    """The names of a server's models, which it is asked for before anything is loaded; empty if it does not tell them.

    Raises:
        InputError: nothing listens there, or the URL is none.
    """
    loop, connection = LoopThread(), Connection(url, options)
    try:
        return ", ".join(map(shown, loop.run(models_at_first(connection, options))))
    except (Transient, Refused):
        return ""  # the probe, which is patient, says why
    finally:
        loop.run(connection.close())
        loop.close()


def examine(
    url: str, tokenizer: Any, declared_stops: Sequence[int], options: ServedOptions, model: Teacher | None = None
) -> list[str]:
    """Probe a server, score the same texts again, and measure its throughput.

    Args:
        url: of the server.
        tokenizer: the teacher's.
        declared_stops: stop tokens that its model declares.
        options: settings of the server.
        model: a local one, whose scores the server's should be; None for no comparison.

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
        texts = server_agreement.texts(tokenizer, min(server_agreement.LENGTH, length))
        findings = [*found.findings, server_agreement.order(teacher, texts)]
        if model is not None:
            findings.append(server_agreement.local(teacher, model, texts))
        return [*findings, in_words(measure(teacher, length, options.max_in_flight, SECONDS), length)]
    finally:
        teacher.close()


def local_teacher(model: str, tokenizer: Any) -> LocalTeacher:
    """A model in this process, to compare a server with.

    Args:
        model: a folder or hub id.
        tokenizer: of the teacher.

    Raises:
        InputError: it cannot be read, has fewer ids than the tokenizer, or a tokenizer of its own that gives other ids.
    """
    from crossdistill.inspection.model_files import read_tokenizer
    from crossdistill.train.loading import load_model

    try:
        own = read_tokenizer(model)
    except InputError:  # it may have none, or is no model at all: below
        own = tokenizer
    if server_agreement.texts(own, LENGTH) != server_agreement.texts(tokenizer, LENGTH):
        raise InputError(
            f"the local model {model!r} has another tokenizer than --teacher-tokenizer, so it reads the server's "
            "tokens as other text: give the model that is served."
        )
    return LocalTeacher(load_model(f"the local model {model!r}", model, {}), tokenizer)


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
