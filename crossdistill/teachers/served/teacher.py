"""A teacher behind a server."""

import hashlib
import os
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import httpx
import numpy as np
import torch

from crossdistill.align import DropReason
from crossdistill.chat import ensure_template, stop_ids
from crossdistill.errors import InputError
from crossdistill.ops import TopLogprobs
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served.api.client import ScoringClient
from crossdistill.teachers.served.api.dialect import PromptLogprobs
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats
from crossdistill.teachers.served.health import Health
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.loop_thread import LoopThread
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.probe import Capabilities, probe
from crossdistill.teachers.served.scorer import ScoreRequest, ScoreResult, ScoreStore, ServerScorer
from crossdistill.tokens import ByteVocab

_MOST_PADDING = 1024
"""A server does not tell by how many ids its model's vocabulary is padded beyond the tokenizer. They carry no bytes."""


class ServedTeacher(Teacher):
    """Scores responses with a model on a server, whose answers are checked and not believed.

    Args:
        url: of the server, with or without ``/v1``.
        tokenizer: of the model that is served; gets the plain chat template where it has none.
        options: see :class:`ServedOptions`.
        text_tokens: special tokens that are read as text (:meth:`crossdistill.ByteVocab.from_tokenizer`).
        temperature: 1 alone: that of a server's prompt log-probabilities.
        cache: keeps scores for a later run.
        declared_stops: stop tokens that the model declares (``generation_config.eos_token_id``) beside those that its
            tokenizer and template name.
        transport: in place of the network, for tests.

    Attributes:
        capability: what was found out about the server. traffic: what passed so far.

    Raises InputError for a server that cannot teach (:func:`crossdistill.teachers.served.probe.probe`), a temperature
    other than 1, a tokenizer whose bytes cannot be verified, or one without a stop token; TeacherUnavailableError where
    nobody answers.
    """

    is_remote = True

    def __init__(
        self,
        url: str,
        tokenizer: Any,
        options: ServedOptions | None = None,
        text_tokens: Collection[str] = (),
        temperature: float = 1.0,
        cache: ScoreStore | None = None,
        declared_stops: Iterable[int] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        if temperature != 1:
            raise InputError(
                f"a served teacher gives log-probabilities at temperature 1, not {temperature:g}: set temperature = 1, "
                "or take a local teacher."
            )
        self.tokenizer = tokenizer
        ensure_template(tokenizer)
        self.vocab = ByteVocab.from_tokenizer(tokenizer, _num_ids(tokenizer) + _MOST_PADDING, text_tokens)
        self.stop_ids = stop_ids(tokenizer, declared_stops)
        if not self.stop_ids:
            raise InputError(
                "the teacher declares no stop token, so the end of a response has no probability: set its tokenizer's "
                "eos_token."
            )
        self.traffic = Traffic()
        self._url = url
        self._options = options or ServedOptions()
        self._cache = cache
        self._transport = transport
        self._session: _Session | None = None
        self.capability = self._probe()
        self._reference_name, self._fingerprint = "", ""
        if cache is not None:
            self._reference_name = _reference_name(cache, self.capability, self.vocab)
            self._fingerprint = _fingerprint(cache, self._reference_name, self.capability)
        self.signal = self.capability.signal
        self.max_length = self.capability.max_length
        self.max_top_k = self.capability.max_top_k if self.signal is Signal.TOPK else None

    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[TeacherScore | DropReason]:
        """One score a request, in order, or the reason why the server cannot score it.

        Equal requests are asked once. Raises TeacherUnavailableError and TeacherChangedError, and ValueError for a
        request without a prompt: of a first token no server tells a probability.
        """
        k = top_k if signal is Signal.TOPK else 0
        assert self.signal.covers(signal)
        assert k <= (self.max_top_k or 0)
        questions = [_question(request, k) for request in requests]
        distinct = list(dict.fromkeys(questions))
        if not distinct:
            return []
        session = self._opened()
        if session.scorer is None:
            session.scorer = self._scorer(session)
        if self._cache is not None:
            _kept_reference(self._cache, self._reference_name, self.capability)  # used now, so not the next to go
        try:
            answers = session.loop.run(session.scorer.answers(distinct))
        except BaseException:
            self.close()  # requests were cancelled, and left connections behind; a later call has patience of its own
            raise
        return [_score(question, answers[question]) for question in questions]

    def usage(self) -> Mapping[str, float]:
        """The fields of :class:`Traffic`: requests, retries, bytes and so on since this teacher was made."""
        return self.traffic.as_dict()

    def identity(self) -> dict[str, Any]:
        """A known text and how this model scores it.

        Returns:
            `ids`: token ids of the text. `logprobs`: nats of all ids but the first.
        """
        found = self.capability
        return {"ids": list(found.reference_ids), "logprobs": found.reference.tolist()}

    def difference(self, identity: Mapping[str, Any]) -> str | None:
        """How this model differs from the one of a saved :meth:`identity`, in words; None if it is the same.

        A server with a shorter context scores only the beginning of the text: what both have is compared.
        """
        found = self.capability
        if any(one != other for one, other in zip(found.reference_ids, identity["ids"], strict=False)):
            return "its tokenizer reads a known text otherwise"
        nats = difference_nats(np.array(identity["logprobs"], dtype=np.float32), found.reference)
        return None if nats <= TOLERANCE_NATS else f"its log-probabilities of a known text differ by {nats:.2g} nats"

    def set_deadline(self, seconds: float) -> None:
        """A call to :meth:`score`, one that waits now too, raises TeacherUnavailableError after so many seconds.

        For the rest of this session; may be called from a signal handler.
        """
        if self._session is not None and self._session.scorer is not None:
            self._session.loop.call(self._session.scorer.set_deadline, seconds)

    def close(self) -> None:
        """Ends the connections; a later call opens them again."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _probe(self) -> Capabilities:
        session = self._opened()
        ours = self.tokenizer, self.vocab, self.stop_ids
        try:
            return session.loop.run(probe(session.connection, session.retrying, *ours, self._options))
        except BaseException:
            self.close()
            raise

    def _opened(self) -> "_Session":
        """Of this process: neither threads nor connections live on the other side of a fork."""
        if self._session is None or self._session.pid != os.getpid():
            self._session = _Session(self._url, self._options, self.traffic, self._transport)
            self._session.closed_with(self)
        return self._session

    def _scorer(self, session: "_Session") -> ServerScorer:
        found = self.capability
        asker = ScoringClient(session.connection, found.dialect, found.model, found.answers_as)
        health = Health(session.connection, asker, session.retrying, found)
        ours = self.stop_ids, self.traffic, self._options
        return ServerScorer(asker, session.retrying, health, found, *ours, self._cache, self._fingerprint)


class _Session:
    """What a process needs to speak with the server. It knows nothing of the teacher, whose end closes it."""

    def __init__(self, url: str, options: ServedOptions, traffic: Traffic, transport: httpx.AsyncBaseTransport | None):
        self.pid = os.getpid()
        self.connection = Connection(url, options, traffic, transport)
        self.retrying = RetryPolicy(self.connection.url, options.patience_s, traffic)
        self.scorer: ServerScorer | None = None
        self.loop = LoopThread()
        self._is_closed = threading.Lock()  # taken for good by the one that closes

    def closed_with(self, teacher: "ServedTeacher") -> None:
        """At the latest when nobody holds the teacher any more."""
        self._at_its_end = weakref.finalize(teacher, self.close)

    def close(self) -> None:
        if self.pid == os.getpid() and self._is_closed.acquire(blocking=False):
            self._at_its_end.detach()
            self.loop.run(self.connection.close())
            self.loop.close()


def _num_ids(tokenizer: Any) -> int:
    return 1 + max(int(token_id) for token_id in tokenizer.get_vocab().values())


def _question(request: TeacherRequest, top_k: int) -> ScoreRequest:
    prompt, response = (tuple(map(int, ids)) for ids in (request.prompt_ids, request.response_ids))
    if not prompt:
        raise ValueError("a request needs at least one token of a prompt")
    return ScoreRequest(prompt, response, request.stopped, top_k)


def _score(question: ScoreRequest, answer: ScoreResult | DropReason) -> TeacherScore | DropReason:
    if isinstance(answer, DropReason):
        return answer
    rows = answer.rows
    stop = float(np.logaddexp.reduce(answer.stop_logprobs.astype(np.float64))) if question.stopped else None
    top = None
    if rows.top_ids is not None and rows.top_logprobs is not None:
        top = TopLogprobs(torch.from_numpy(rows.top_ids), torch.from_numpy(rows.top_logprobs))
    return TeacherScore(rows.logprobs[: len(question.response)], stop, topk=top)


def _reference_name(cache: ScoreStore, found: Capabilities, vocab: ByteVocab) -> str:
    """Under which the cache has the reference scores of this teacher: of its model, its vocabulary, and a number.

    Different models may be served under one name, one after the other: each has a number of its own.
    """
    pieces = hashlib.sha256(b"".join(len(piece).to_bytes(4, "little") + piece for piece in vocab.pieces)).hexdigest()
    names = (f"{found.model} {pieces} {number}" for number in count())
    return next(name for name in names if _is_of(found, _kept_reference(cache, name, found)))


def _kept_reference(cache: ScoreStore, name: str, found: Capabilities) -> np.ndarray:
    """Those of the teacher itself, from now on, where nothing is kept under this name."""
    key = cache.key(name, found.reference_ids, 0)
    kept = cache.get(key)
    if kept is None:
        cache.put(key, PromptLogprobs(found.reference))
        return found.reference
    return kept.logprobs


def _is_of(found: Capabilities, reference: np.ndarray) -> bool:
    return difference_nats(reference, found.reference) <= TOLERANCE_NATS


def _fingerprint(cache: ScoreStore, name: str, found: Capabilities) -> str:
    """Of the kept reference: where a full cache has dropped it, no row of another model can be found in its place."""
    reference = _kept_reference(cache, name, found)
    return f"{name} {hashlib.sha256(reference.tobytes()).hexdigest()}"
