"""What a teacher behind a server can do, and how fast."""

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

PATIENCE_S = 20.0  # somebody waits for the answer
SECONDS = 5.0
LENGTH = 512
UNTOLD_LENGTH = 128  # where the server does not tell how much its context holds
_RESERVED = 8  # tokens of the context: the stop token that is scored too, and what the server writes


@dataclass(frozen=True)
class Rate:
    """Scored tokens a second, with so many requests at once."""

    num_requests: int
    tokens_per_s: float


def settings(model: str | None, overrides: Sequence[str]) -> ServedOptions:
    """How the server is asked. model: the teacher's name there, None for the only one. Raises InputError."""
    options = read_config(ServedOptions, None, overrides, {"model": model})
    is_chosen = "patience_s" in options.model_fields_set
    return options if is_chosen else options.model_copy(update={"patience_s": PATIENCE_S})


def examine(url: str, tokenizer: Any, declared_stops: Sequence[int], options: ServedOptions) -> list[str]:
    """What the probe finds, and the throughput, in words.

    tokenizer: the teacher's. declared_stops: stop tokens that its model declares. Raises InputError for a server that
    cannot teach, TeacherUnavailableError where nobody answers.
    """
    teacher = ServedTeacher(url, tokenizer, options, declared_stops=declared_stops)
    try:
        found = teacher.capabilities
        length = UNTOLD_LENGTH if found.max_length is None else min(LENGTH, found.max_length - _RESERVED)
        return [*found.findings, in_words(measure(teacher, length, options.max_in_flight, SECONDS), length)]
    finally:
        teacher.close()


def measure(teacher: Teacher, length: int, max_requests: int, seconds: float) -> list[Rate]:
    """The rate of one request of `length` tokens, then of twice as many at once, and so on.

    It ends with the round in which `seconds` have passed. Of rounds of one size the best counts.
    """
    requests, best = _requests(teacher.vocab, length), dict[int, float]()
    end, size = time.monotonic() + seconds, 1
    while True:
        asked = list(islice(requests, size))
        begun = time.monotonic()
        answers = teacher.score(asked)
        taken = time.monotonic() - begun
        scored = sum(len(answer.logprobs) for answer in answers if isinstance(answer, TeacherScore))
        best[size] = max(best.get(size, 0.0), scored / taken)
        if time.monotonic() >= end:
            return [Rate(size, rate) for size, rate in best.items()]
        size = min(2 * size, max_requests)


def in_words(rates: list[Rate], length: int) -> str:
    if not any(rate.tokens_per_s for rate in rates):
        return f"throughput: none, as no request of {length} tokens was scored"
    shown = ", ".join(f"{rate.tokens_per_s:,.0f} with {rate.num_requests}" for rate in rates)
    return f"throughput: scored tokens a second by requests of {length} tokens at once: {shown}"


def _requests(vocab: ByteVocab, length: int) -> Iterator[TeacherRequest]:
    """Pieces of the shipped corpus, each another one: the same would be asked for once."""
    ids = vocab.encode(b"\n".join(document.data for document in corpus())).ids.tolist()
    for start in count(step=length // 2 + 1):
        piece = ids[start % (len(ids) - length) :][:length]
        yield TeacherRequest(piece[:1], piece[1:], stopped=False)
