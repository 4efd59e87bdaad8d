"""Checks that the server's tokenizer is the one that was given."""

from collections.abc import Sequence
from typing import Any

from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.template import render_text
from crossdistill.errors import InputError
from crossdistill.teachers.served.api.answers import field
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.fingerprint import TEXT, first_difference, token_ids
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Refused, quoted
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.tokens.source import PROBE_TEXTS

_PATH = "/tokenize"


async def check_ids(
    connection: Connection, retry: RetryPolicy, model: str, tokenizer: Any, names: TokenNames
) -> int | None:
    """Have the server tokenize some texts, and compare the ids.

    Args:
        connection: to the server.
        retry: sends requests again.
        model: its name on the server.
        tokenizer: the one that was given.
        names: of its tokens, for the message.

    Returns:
        The number of texts; None if the server cannot tokenize.

    Raises:
        InputError: the ids of a text differ.
    """
    texts = _texts(tokenizer)
    for text in texts:
        theirs = await _their_ids(connection, retry, model, text)
        if theirs is None:
            return None
        ours = token_ids(tokenizer, text)
        if ours != theirs:
            raise InputError(_refusal(text, _at_first_difference(ours, theirs, names)))
    return len(texts)


def check_names(given: Sequence[str | None], ids: Sequence[int], names: TokenNames) -> None:
    """Compare the names that the server gives to the ids that it was sent.

    Args:
        given: by the server; None for an id that it does not name.
        ids: of the fingerprint's text.
        names: of the tokens of the tokenizer that was given.

    Raises:
        InputError: a name differs.
    """
    if names.form_of(given, ids) is None:
        difference = names.difference(given, ids, Form.TEXT)
        raise InputError(_refusal(TEXT, difference or "the tokens have other names"))


def _texts(tokenizer: Any) -> list[str]:
    """Known texts, and a conversation, which has the tokens that begin and end turns."""
    known = [TEXT, *[text for text in PROBE_TEXTS if "\x00" not in text]]
    try:
        return [*known, render_text(tokenizer, [{"role": "user", "content": "Add 12 and 30."}])]
    except TemplateRefusalError:
        return known


async def _their_ids(connection: Connection, retry: RetryPolicy, model: str, text: str) -> tuple[int, ...] | None:
    body = {"model": model, "prompt": text, "add_special_tokens": False}

    async def attempt() -> Any:
        try:
            return field(await connection.exchange(_PATH, body), "tokens")
        except Malformed:
            return None

    try:
        tokens = await retry(attempt)
    except Refused:
        return None
    is_ids = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
    return tuple(tokens) if is_ids else None


def _at_first_difference(ours: Sequence[int], theirs: Sequence[int], names: TokenNames) -> str:
    position = first_difference(ours, theirs)
    here, there = (names.described(ids[position]) if position < len(ids) else "missing" for ids in (ours, theirs))
    return f"token {position} is {here} here and {there} there"


def _refusal(text: str, difference: str) -> str:
    return (
        f"the server's tokenizer is not the one that was given: of {quoted(text)} {difference}. Give the tokenizer of "
        "the model that is served."
    )
