"""What a server can do, found out by asking it."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeVar

import numpy as np

from crossdistill.errors import InputError
from crossdistill.signal import Signal
from crossdistill.teachers.served.api.client import ScoringClient, name_in, served_models
from crossdistill.teachers.served.api.completions import Completions
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.api.vllm import Vllm
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, beginning, difference_nats, reference_ids
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Refused, Transient, shown
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.same_tokenizer import check_names, checked_by_ids
from crossdistill.tokens import ByteVocab

MOST_TOP_K = 128
_TRIES = 4
_NEXT_TOLERANCE_NATS = 0.5  # of one token, from another kernel

T = TypeVar("T")


@dataclass(frozen=True)
class Capabilities:
    """What the server can do, and by what it is known again.

    dialect: the one that it speaks. signal: the most that it gives, with `max_top_k` tokens a position. max_length:
    tokens that its context holds, where it tells. model: its name there; answers_as: the name that answers carry, if
    they carry one. lists_models: whether it tells which models it serves. can_next: whether it is asked for what comes
    next. reference_ids, reference: a text and its log-probabilities, float32 [len(reference_ids) - 1]. findings: all
    this in words.
    """

    dialect: Dialect
    signal: Signal
    max_top_k: int
    max_length: int | None
    model: str
    answers_as: str | None
    lists_models: bool
    can_next: bool
    reference_ids: tuple[int, ...]
    reference: np.ndarray
    findings: tuple[str, ...]


@dataclass(frozen=True)
class _Model:
    """name: there. max_length: of its context, where it is told. is_listed: whether the server lists its models."""

    name: str
    max_length: int | None
    is_listed: bool


async def probe(
    connection: Connection,
    retrying: RetryPolicy,
    tokenizer: Any,
    vocab: ByteVocab,
    stop_ids: Sequence[int],
    options: ServedOptions,
) -> Capabilities:
    """Asks a few short questions whose answers must fit together.

    Raises InputError for a server that gives no log-probabilities of a prompt in a dialect that is known, whose scores
    are inconsistent, or whose tokenizer is another one; TeacherUnavailableError where nobody answers.
    """
    model = await _model(connection, retrying, options)
    ids = reference_ids(tokenizer, model.max_length)
    spelling = TokenNames(tokenizer, vocab)
    candidates = _dialects(options, spelling, tokenizer, vocab)
    dialect, answer = await _spoken(connection, retrying, model.name, ids, candidates)
    num_texts = await checked_by_ids(connection, retrying, model.name, tokenizer, spelling)
    if num_texts is None:
        check_names(await _names(connection, retrying, model.name, ids, dialect, answer), ids, spelling)
    asker = ScoringClient(connection, dialect, model.name)
    reference = dialect.read(answer, ids, 0).logprobs
    half = beginning(tokenizer, ids, len(ids) // 2 + 1)
    noise = await _prefix_difference(asker, retrying, half, reference)
    is_exact = not isinstance(dialect, Completions) or spelling.is_unique(dialect.form)
    max_top_k = await _max_top_k(asker, retrying, ids, min(MOST_TOP_K, len(vocab))) if is_exact else 0
    found = Capabilities(
        dialect=dialect,
        signal=Signal.TOPK if max_top_k else Signal.SAMPLED,
        max_top_k=max_top_k,
        max_length=model.max_length,
        model=model.name,
        answers_as=name_in(answer),
        lists_models=model.is_listed,
        can_next=await _can_next(asker, retrying, ids, reference, stop_ids),
        reference_ids=ids,
        reference=reference,
        findings=(),
    )
    findings = [*_findings(found, num_texts, noise, len(stop_ids)), *_warnings(connection)]
    return replace(found, findings=tuple(findings))


async def _model(connection: Connection, retrying: RetryPolicy, options: ServedOptions) -> _Model:
    models = await _asked(retrying, lambda: served_models(connection), tries=None)  # it may be starting up
    if isinstance(models, Refused) and models.status in {401, 403}:
        raise InputError(
            f"the teacher at {connection.url} lets nobody in without its key ({models}): set ${options.key_env}."
        )
    if isinstance(models, Transient | Refused):
        if options.model is None:
            raise InputError(
                f"the teacher at {connection.url} does not list its models ({models}): name one, or check the URL."
            )
        return _Model(options.model, None, False)
    return _chosen(models, options.model, connection.url)


def _chosen(models: dict[str, int | None], wanted: str | None, url: str) -> _Model:
    listed = ", ".join(shown(name) for name in models) or "none"
    if wanted is None and len(models) != 1:
        raise InputError(f"the teacher at {url} serves {len(models)} models ({listed}): name one of them.")
    name = next(iter(models)) if wanted is None else wanted
    if name not in models:
        raise InputError(f"the teacher at {url} does not serve {name!r}; it serves {listed}.")
    return _Model(name, models[name], True)


def _dialects(options: ServedOptions, spelling: TokenNames, tokenizer: Any, vocab: ByteVocab) -> Iterator[Dialect]:
    """The most exact one first."""
    if options.dialect in {"auto", "vllm"}:
        yield Vllm(len(vocab))
    if options.dialect in {"auto", "completions"}:
        for sends_text, asks_numbers, num_generated in product((False, True), (True, False), (0, 1)):
            yield Completions(spelling, tokenizer, Form.TEXT, sends_text, num_generated, asks_numbers)


async def _asked(
    retrying: RetryPolicy, attempt: Callable[[], Awaitable[T]], tries: int | None = _TRIES
) -> T | Transient | Refused:
    """While we find out what a server can do, a failure is an answer too, and one of another shape at once."""

    async def tried() -> T | Malformed:
        try:
            return await attempt()
        except Malformed as malformed:
            return malformed

    try:
        return await retrying(tried, tries)
    except (Transient, Refused) as failure:
        return failure


async def _spoken(
    connection: Connection, retrying: RetryPolicy, model: str, ids: Sequence[int], candidates: Iterator[Dialect]
) -> tuple[Dialect, Any]:
    """The first dialect in which the answer can be read, and that answer."""
    reasons = []
    for candidate in candidates:
        asker = ScoringClient(connection, candidate, model)
        answer = await _asked(retrying, partial(_raw, asker, ids))
        if not isinstance(answer, Transient | Refused):
            try:
                return _completed(candidate, answer, ids), answer
            except Malformed as malformed:
                answer = malformed
        reasons.append(f"{candidate.name}: {answer}")
    raise InputError(
        f"the teacher at {connection.url} gives no log-probabilities of a prompt that can be used "
        f"({'; '.join(dict.fromkeys(reasons))}): serve the model with vLLM, or with a server whose completions have "
        "echo and logprobs, and give the tokenizer of that model."
    )


async def _raw(asker: ScoringClient, ids: Sequence[int]) -> Any:
    return await asker.answer(asker.dialect.body(ids, 0))


def _completed(dialect: Dialect, answer: Any, ids: Sequence[int]) -> Dialect:
    """With the form in which the server names tokens; raises Malformed where its answer cannot be read."""
    if isinstance(dialect, Completions):
        form = dialect.spelling.form_of(dialect.tokens(answer), ids)
        dialect = replace(dialect, form=form or Form.TEXT)
    dialect.read(answer, ids, 0)
    return dialect


async def _names(
    connection: Connection, retrying: RetryPolicy, model: str, ids: Sequence[int], dialect: Dialect, answer: Any
) -> list[str | None]:
    """What the server's own tokenizer calls the ids: a number that it was sent says nothing of it."""
    if not isinstance(dialect, Completions) or dialect.sends_text or not dialect.asks_numbers:
        return dialect.tokens(answer)
    by_name = replace(dialect, asks_numbers=False)
    named = await _asked(retrying, partial(_raw, ScoringClient(connection, by_name, model), ids))
    if isinstance(named, Transient | Refused):
        raise InputError(f"the teacher's server does not say how its tokens are called ({named}): it cannot be used.")
    return by_name.tokens(named)


async def _prefix_difference(
    asker: ScoringClient, retrying: RetryPolicy, half: Sequence[int], reference: np.ndarray
) -> float:
    """Between the scores of half the text, alone and within the whole: a score must not depend on what follows."""
    found = await _asked(retrying, lambda: asker.score(half, 0))
    if isinstance(found, Transient | Refused):
        raise InputError(f"the teacher's server scores a text and not its first half ({found}): it cannot be used.")
    difference = difference_nats(found.logprobs, reference)
    if difference > TOLERANCE_NATS:
        raise InputError(
            f"the teacher's server scores the same tokens otherwise where more text follows, by {difference:.2g} nats "
            "in the mean: its log-probabilities are not those of the tokens at these positions."
        )
    return difference


async def _max_top_k(asker: ScoringClient, retrying: RetryPolicy, ids: Sequence[int], most: int) -> int:
    """The largest k that it gives, up to `most`; 0 where it gives none."""

    async def works(k: int) -> bool:
        return not isinstance(await _asked(retrying, lambda: asker.score(ids, k)), Transient | Refused)

    if await works(most):
        return most
    given, refused = 0, most
    while refused - given > 1:
        middle = (given + refused) // 2
        if await works(middle):
            given = middle
        else:
            refused = middle
    return given


async def _can_next(
    asker: ScoringClient, retrying: RetryPolicy, ids: Sequence[int], reference: np.ndarray, stop_ids: Sequence[int]
) -> bool:
    """Whether what it says of the next token is what it says of that token where it is there."""
    half = len(ids) // 2
    wanted = [ids[half], *[stop for stop in stop_ids if stop != ids[half]]]
    found = await _asked(retrying, lambda: asker.next(ids[:half], wanted))
    if found is None or isinstance(found, Transient | Refused):
        return False
    return bool(abs(found[0] - reference[half - 1]) <= _NEXT_TOLERANCE_NATS)


def _findings(found: Capabilities, num_texts: int | None, noise: float, num_stops: int) -> Iterator[str]:
    """Lines for people."""
    context = "not told" if found.max_length is None else f"{found.max_length:,} tokens"
    yield f"model: {shown(found.model)}, context: {context}"
    form = ""
    if isinstance(found.dialect, Completions):
        sent = "text" if found.dialect.sends_text else "token ids"
        form = f" ({sent} sent, tokens named by {found.dialect.form.value})"
    yield f"dialect: {found.dialect.name}{form}"
    most = f"topk, up to {found.max_top_k} tokens a position" if found.max_top_k else "sampled"
    yield f"signal: {most}"
    if num_texts is None:
        yield "tokenizer: the reference text's tokens have the names that they have here"
    else:
        yield f"tokenizer: the same ids for {num_texts} texts"
    yield f"scores: agree within {noise:.2g} nats in the mean between a text and its first half"
    if num_stops > 1:
        how = "in one request after the response" if found.can_next else "in one request each"
        yield f"stop tokens: {num_stops}; all but the first are asked for {how}"


def _warnings(connection: Connection) -> Iterator[str]:
    if connection.shows_key:
        yield "warning: the API key goes over the network unencrypted; serve https"
