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
from crossdistill.chat.determinism import make_deterministic
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.ops import TopLogprobs
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served.api.answers import PromptLogprobs
from crossdistill.teachers.served.api.client import ScoringClient
from crossdistill.teachers.served.capabilities import Capabilities
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats
from crossdistill.teachers.served.health import Health
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.loop_thread import LoopThread
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.probe import probe
from crossdistill.teachers.served.scorer import ScoreRequest, ScoreResult, ScoreStore, ServerScorer
from crossdistill.tokens import ByteVocab

_MOST_PADDING = 1024
"""Most ids by which a model's vocabulary may be padded beyond its tokenizer's: the server does not say how many. They
carry no bytes."""


class ServedTeacher(Teacher):
    """Scores responses with a model on a server. The server's answers are checked, not trusted.

    Args:
        url: of the server, with or without ``/v1``.
        tokenizer: of the model that is served; gets the plain chat template if it has none.
        options: settings of the server; None for the defaults.
        text_tokens: special tokens that are read as text (:meth:`crossdistill.ByteVocab.from_tokenizer`).
        temperature: must be 1, the temperature of a server's prompt log-probabilities.
        cache: keeps scores for later runs; None for no cache.
        declared_stops: stop tokens that the model declares (``generation_config.eos_token_id``), in addition to those
            that its tokenizer and template name.
        transport: replaces the network, for tests.

    Attributes:
        capabilities: of the server, as the probe found them.
        traffic: counters of what passed so far.

    Raises:
        InputError: the server cannot teach (:func:`crossdistill.teachers.served.probe.probe`), the temperature is not
            1, or the tokenizer has no stop token or bytes that cannot be verified.
        TeacherUnavailableError: nobody answers.
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
                "or use a local teacher."
            )
        self.tokenizer = tokenizer
        FindingLog().add_all(make_deterministic(tokenizer, "teacher"))
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
        self.capabilities = self._probe()
        self._fingerprint_name, self._teacher_key = "", ""
        if cache is not None:
            self._fingerprint_name = _fingerprint_name(cache, self.capabilities, self.vocab)
            self._teacher_key = _teacher_key(cache, self._fingerprint_name, self.capabilities)
        self.signal = self.capabilities.signal
        self.max_length = self.capabilities.max_length
        self.max_top_k = self.capabilities.max_top_k if self.signal is Signal.TOPK else None

    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[TeacherScore | DropReason]:
        """Score responses; equal requests are sent once. See :meth:`Teacher.score`.

        Raises:
            TeacherUnavailableError: the server does not answer.
            TeacherChangedError: another model answers.
            ValueError: a request has no prompt: no server gives a probability of a first token.
        """
        k = top_k if signal is Signal.TOPK else 0
        assert self.signal.covers(signal)
        assert k <= (self.max_top_k or 0)
        score_requests = [_score_request(request, k) for request in requests]
        distinct = list(dict.fromkeys(score_requests))
        if not distinct:
            return []
        session = self._open_session()
        if session.scorer is None:
            session.scorer = self._make_scorer(session)
        if self._cache is not None:  # marks the fingerprint as used, so that it is not the next row to be dropped
            _cached_fingerprint(self._cache, self._fingerprint_name, self.capabilities)
        try:
            results = session.loop.run(session.scorer.score(distinct))
        except BaseException:
            self.close()  # cancelled requests leave connections behind; a later call begins with full patience
            raise
        return [_teacher_score(request, results[request]) for request in score_requests]

    def usage(self) -> Mapping[str, float]:
        """Counters of requests, retries, bytes and so on since this teacher was made."""
        return self.traffic.as_dict()

    def identity(self) -> dict[str, Any]:
        """The fingerprint: ``ids`` of a known text and ``logprobs``, the nats of all of them but the first."""
        found = self.capabilities
        return {"ids": list(found.fingerprint_ids), "logprobs": found.fingerprint.tolist()}

    def difference(self, identity: Mapping[str, Any]) -> str | None:
        """How this model differs from the one of a saved :meth:`identity`, in words; None if it is the same.

        A server with a shorter context has only the beginning of the fingerprint: what both have is compared.
        """
        found = self.capabilities
        if any(one != other for one, other in zip(found.fingerprint_ids, identity["ids"], strict=False)):
            return "its tokenizer reads a known text otherwise"
        nats = difference_nats(np.array(identity["logprobs"], dtype=np.float32), found.fingerprint)
        return None if nats <= TOLERANCE_NATS else f"its log-probabilities of a known text differ by {nats:.2g} nats"

    def set_deadline(self, seconds: float) -> None:
        """Make :meth:`score`, also a call that is running, raise TeacherUnavailableError after that many seconds.

        It holds until the connections are closed; it may be called from a signal handler.
        """
        if self._session is not None and self._session.scorer is not None:
            self._session.loop.call(self._session.scorer.set_deadline, seconds)

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _probe(self) -> Capabilities:
        session = self._open_session()
        ours = self.tokenizer, self.vocab, self.stop_ids
        try:
            return session.loop.run(probe(session.connection, session.retry, *ours, self._options))
        except BaseException:
            self.close()
            raise

    def _open_session(self) -> "_Session":
        """This process's session: threads and connections do not survive a fork."""
        if self._session is None or self._session.pid != os.getpid():
            self._session = _Session(self._url, self._options, self.traffic, self._transport)
            self._session.close_with(self)
        return self._session

    def _make_scorer(self, session: "_Session") -> ServerScorer:
        found = self.capabilities
        client = ScoringClient(session.connection, found.dialect, found.model, found.answers_as)
        health = Health(session.connection, client, session.retry, found)
        ours = self.stop_ids, self.traffic, self._options
        return ServerScorer(client, session.retry, health, found, *ours, self._cache, self._teacher_key)


class _Session:
    """Connections and the thread of one process. It holds no reference to the teacher, whose end closes it."""

    def __init__(self, url: str, options: ServedOptions, traffic: Traffic, transport: httpx.AsyncBaseTransport | None):
        self.pid = os.getpid()
        self.connection = Connection(url, options, traffic, transport)
        self.retry = RetryPolicy(self.connection.url, options.patience_s, traffic)
        self.scorer: ServerScorer | None = None
        self.loop = LoopThread()
        self._is_closed = threading.Lock()  # acquired once, by the caller that closes, and never released

    def close_with(self, teacher: ServedTeacher) -> None:
        """Close this at the latest when nobody holds the teacher any more."""
        self._finalizer = weakref.finalize(teacher, self.close)

    def close(self) -> None:
        if self.pid == os.getpid() and self._is_closed.acquire(blocking=False):
            self._finalizer.detach()
            self.loop.run(self.connection.close())
            self.loop.close()


def _num_ids(tokenizer: Any) -> int:
    return 1 + max(int(token_id) for token_id in tokenizer.get_vocab().values())


def _score_request(request: TeacherRequest, top_k: int) -> ScoreRequest:
    prompt, response = (tuple(map(int, ids)) for ids in (request.prompt_ids, request.response_ids))
    if not prompt:
        raise ValueError("a request needs at least one token of a prompt")
    return ScoreRequest(prompt, response, request.stopped, top_k)


def _teacher_score(request: ScoreRequest, result: ScoreResult | DropReason) -> TeacherScore | DropReason:
    if isinstance(result, DropReason):
        return result
    rows = result.rows
    stop = float(np.logaddexp.reduce(result.stop_logprobs.astype(np.float64))) if request.stopped else None
    top = None
    if rows.top_ids is not None and rows.top_logprobs is not None:
        top = TopLogprobs(torch.from_numpy(rows.top_ids), torch.from_numpy(rows.top_logprobs))
    return TeacherScore(rows.logprobs[: len(request.response)], stop, topk=top)


def _fingerprint_name(cache: ScoreStore, found: Capabilities, vocab: ByteVocab) -> str:
    """Name of this teacher's fingerprint in the cache: its model, its vocabulary, and a number.

    Different models may be served under one name, one after the other: each gets a number of its own.
    """
    pieces = hashlib.sha256(b"".join(len(piece).to_bytes(4, "little") + piece for piece in vocab.pieces)).hexdigest()
    names = (f"{found.model} {pieces} {number}" for number in count())
    return next(name for name in names if _is_same(found, _cached_fingerprint(cache, name, found)))


def _cached_fingerprint(cache: ScoreStore, name: str, found: Capabilities) -> np.ndarray:
    """The fingerprint that the cache has under this name; if it has none, this teacher's, which is put there."""
    key = cache.key(name, found.fingerprint_ids, 0)
    cached = cache.get(key)
    if cached is None:
        cache.put(key, PromptLogprobs(found.fingerprint))
        return found.fingerprint
    return cached.logprobs


def _is_same(found: Capabilities, fingerprint: np.ndarray) -> bool:
    return difference_nats(fingerprint, found.fingerprint) <= TOLERANCE_NATS


def _teacher_key(cache: ScoreStore, name: str, found: Capabilities) -> str:
    """The name with a hash of the cached fingerprint: if a full cache drops that, another model finds no rows here."""
    fingerprint = _cached_fingerprint(cache, name, found)
    return f"{name} {hashlib.sha256(fingerprint.tobytes()).hexdigest()}"
