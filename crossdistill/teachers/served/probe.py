"""Probes a server: finds out what it can do by asking it."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from crossdistill.errors import InputError
from crossdistill.signal import Signal
from crossdistill.teachers.served.api import registry
from crossdistill.teachers.served.api.client import ScoringClient, answering_model, models_at_first
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.api.token_names import TokenNames
from crossdistill.teachers.served.capabilities import Capabilities, describe
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats, fingerprint_ids, prefix
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Refused, Transient, shown
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.same_tokenizer import check_ids, check_names
from crossdistill.tokens import ByteVocab

MOST_TOP_K = 128
_TRIES = 4
_NEXT_TOLERANCE_NATS = 0.5  # of one token, from another kernel

T = TypeVar("T")


@dataclass(frozen=True)
class _Model:
    """A model on the server.

    Attributes:
        name: on the server.
        max_length: of its context; None if it is not known.
        is_listed: whether the server lists its models.
    """

    name: str
    max_length: int | None
    is_listed: bool


async def probe(
    connection: Connection,
    retry: RetryPolicy,
    tokenizer: Any,
    vocab: ByteVocab,
    stop_ids: Sequence[int],
    options: ServedOptions,
) -> Capabilities:
    """Send a few short requests whose answers must agree with each other.

    Args:
        connection: to the server.
        retry: sends requests again.
        tokenizer: the teacher's.
        vocab: its tokens as bytes, padding ids included.
        stop_ids: of the teacher.
        options: name the dialect and the model.

    Raises:
        InputError: the server gives no log-probabilities of a prompt in a known dialect, its scores are inconsistent,
            or its tokenizer is another one; or it cannot be reached.
        TeacherUnavailableError: nobody answers.
    """
    model = await _find_model(connection, retry, options)
    ids = fingerprint_ids(tokenizer, model.max_length)
    names = TokenNames(tokenizer, vocab)
    variants = (variant for kind in registry.candidates(options.dialect) for variant in kind.variants(tokenizer, names))
    dialect, answer = await _find_dialect(connection, retry, model.name, ids, variants)
    num_texts = await check_ids(connection, retry, model.name, tokenizer, names)
    if num_texts is None:
        check_names(await _names_of(connection, retry, model.name, ids, dialect, answer), ids, names)
    client = ScoringClient(connection, dialect, model.name)
    fingerprint = dialect.read(answer, ids, 0).logprobs
    half = prefix(tokenizer, ids, len(ids) // 2 + 1)
    noise = await _check_prefix(client, retry, half, fingerprint)
    top_k = await _max_top_k(client, retry, ids, min(MOST_TOP_K, len(vocab))) if dialect.identifies_tokens else 0
    found = Capabilities(
        dialect=dialect,
        signal=Signal.TOPK if top_k else Signal.SAMPLED,
        max_top_k=top_k,
        max_length=model.max_length,
        model=model.name,
        answers_as=answering_model(answer),
        lists_models=model.is_listed,
        can_next=await _can_next(client, retry, ids, fingerprint, stop_ids),
        fingerprint_ids=ids,
        fingerprint=fingerprint,
        findings=(),
    )
    findings = [*describe(found, num_texts, noise, len(stop_ids)), *_warnings(connection)]
    return replace(found, findings=tuple(findings))


async def _find_model(connection: Connection, retry: RetryPolicy, options: ServedOptions) -> _Model:
    models = await _try(retry, lambda: models_at_first(connection, options), tries=None)  # it may be busy
    if isinstance(models, Refused) and models.status in {401, 403}:
        raise InputError(
            f"the teacher at {connection.url} refuses requests without a valid key ({models}): set ${options.key_env}."
        )
    if isinstance(models, Transient | Refused):
        if options.model is None:
            raise InputError(
                f"the teacher at {connection.url} does not list its models ({models}): name one, or check the URL."
            )
        return _Model(options.model, None, False)
    return _choose(models, options.model, connection.url)


def _choose(models: dict[str, int | None], wanted: str | None, url: str) -> _Model:
    listed = ", ".join(shown(name) for name in models) or "none"
    if wanted is None and len(models) != 1:
        raise InputError(f"the teacher at {url} serves {len(models)} models ({listed}): name one of them.")
    name = next(iter(models)) if wanted is None else wanted
    if name not in models:
        raise InputError(f"the teacher at {url} does not serve {name!r}; it serves {listed}.")
    return _Model(name, models[name], True)


async def _try(
    retry: RetryPolicy, attempt: Callable[[], Awaitable[T]], tries: int | None = _TRIES
) -> T | Transient | Refused:
    """The result or the failure: a failure is a finding too. A malformed answer is one at once, without retries."""

    async def result_or_malformed() -> T | Malformed:
        try:
            return await attempt()
        except Malformed as malformed:
            return malformed

    try:
        return await retry(result_or_malformed, tries)
    except (Transient, Refused) as failure:
        return failure


async def _find_dialect(
    connection: Connection, retry: RetryPolicy, model: str, ids: Sequence[int], variants: Iterable[Dialect]
) -> tuple[Dialect, Any]:
    """The first variant of a dialect whose answer can be read, and that answer."""
    reasons = []
    for variant in variants:
        answer = await _try(retry, partial(_answer, ScoringClient(connection, variant, model), ids))
        if not isinstance(answer, Transient | Refused):
            try:
                dialect = variant.adapted(answer, ids)
                dialect.read(answer, ids, 0)
                return dialect, answer
            except Malformed as malformed:
                answer = malformed
        reasons.append(f"{variant.name}: {answer}")
    raise InputError(
        f"the teacher at {connection.url} gives no log-probabilities of a prompt that can be used "
        f"({'; '.join(dict.fromkeys(reasons))}): serve the model with vLLM, or with a server whose completions have "
        "echo and logprobs, and give the tokenizer of that model."
    )


async def _answer(client: ScoringClient, ids: Sequence[int]) -> Any:
    return await client.answer(client.dialect.body(ids, 0))


async def _names_of(
    connection: Connection, retry: RetryPolicy, model: str, ids: Sequence[int], dialect: Dialect, answer: Any
) -> list[str | None]:
    """Names that the server's own tokenizer gives to the ids."""
    by_name = dialect.naming_tokens()
    if by_name is dialect:
        return dialect.tokens(answer)
    named = await _try(retry, partial(_answer, ScoringClient(connection, by_name, model), ids))
    if isinstance(named, Transient | Refused):
        raise InputError(
            f"the teacher's server does not name its tokens ({named}), so its tokenizer cannot be compared with the "
            "one that was given: it cannot be used."
        )
    return by_name.tokens(named)


async def _check_prefix(
    client: ScoringClient, retry: RetryPolicy, half: Sequence[int], fingerprint: np.ndarray
) -> float:
    """Mean difference between the scores of half the text, alone and within the whole text.

    Scores must not depend on what follows: a larger difference than rounding is refused.
    """
    found = await _try(retry, lambda: client.score(half, 0))
    if isinstance(found, Transient | Refused):
        raise InputError(
            f"the teacher's server scores a text, but not the first half of it ({found}): it cannot be used."
        )
    difference = difference_nats(found.logprobs, fingerprint)
    if difference > TOLERANCE_NATS:
        raise InputError(
            f"the teacher's server scores the same tokens differently if more text follows, by {difference:.2g} nats "
            "on average: its log-probabilities do not belong to the tokens at these positions, so it cannot be used."
        )
    return difference


async def _max_top_k(client: ScoringClient, retry: RetryPolicy, ids: Sequence[int], most: int) -> int:
    """The largest k up to `most` that the server gives, by bisection; 0 if it gives none."""

    async def works(k: int) -> bool:
        return not isinstance(await _try(retry, lambda: client.score(ids, k)), Transient | Refused)

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
    client: ScoringClient, retry: RetryPolicy, ids: Sequence[int], fingerprint: np.ndarray, stop_ids: Sequence[int]
) -> bool:
    """Whether the server gives the next token's log-probabilities, and they agree with those of a prompt."""
    half = len(ids) // 2
    wanted = [ids[half], *[stop for stop in stop_ids if stop != ids[half]]]
    found = await _try(retry, lambda: client.next(ids[:half], wanted))
    if found is None or isinstance(found, Transient | Refused):
        return False
    return bool(abs(found[0] - fingerprint[half - 1]) <= _NEXT_TOLERANCE_NATS)


def _warnings(connection: Connection) -> Iterator[str]:
    if connection.exposes_key:
        yield "warning: the API key crosses the network unencrypted; serve https"
