"""Whether the server's tokenizer is the one that we were given."""

from collections.abc import Sequence
from typing import Any

from crossdistill.chat.template import TemplateRefusalError, render_text
from crossdistill.errors import InputError
from crossdistill.teachers.served.api.dialect import field
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.fingerprint import TEXT, first_difference, token_ids
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Refused, quoted
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.tokens.source import PROBE_TEXTS

_PATH = "/tokenize"


async def checked_by_ids(
    connection: Connection, retrying: RetryPolicy, model: str, tokenizer: Any, spelling: TokenNames
) -> int | None:
    """Has the server tokenise some texts: their number, or None where it cannot. Raises InputError at a difference."""
    texts = _texts(tokenizer)
    for text in texts:
        theirs = await _their_ids(connection, retrying, model, text)
        if theirs is None:
            return None
        ours = token_ids(tokenizer, text)
        if ours != theirs:
            raise InputError(_refusal(text, _at_first_difference(ours, theirs, spelling)))
    return len(texts)


def check_names(names: Sequence[str | None], ids: Sequence[int], spelling: TokenNames) -> None:
    """By what the server calls the ids that it was sent. Raises InputError at a difference."""
    form = spelling.form_of(names, ids)
    if form is None:
        difference = spelling.difference(names, ids, Form.TEXT)
        raise InputError(_refusal(TEXT, difference or "the tokens are named otherwise"))


def _texts(tokenizer: Any) -> list[str]:
    """Known ones, and a conversation, which has the tokens that begin and end turns."""
    known = [TEXT, *[text for text in PROBE_TEXTS if "\x00" not in text]]
    try:
        return [*known, render_text(tokenizer, [{"role": "user", "content": "Add 12 and 30."}])]
    except TemplateRefusalError:
        return known


async def _their_ids(connection: Connection, retrying: RetryPolicy, model: str, text: str) -> tuple[int, ...] | None:
    body = {"model": model, "prompt": text, "add_special_tokens": False}

    async def attempt() -> Any:
        try:
            return field(await connection.exchange(_PATH, body), "tokens")
        except Malformed:
            return None

    try:
        tokens = await retrying(attempt)
    except Refused:
        return None
    is_ids = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
    return tuple(tokens) if is_ids else None


def _at_first_difference(ours: Sequence[int], theirs: Sequence[int], spelling: TokenNames) -> str:
    position = first_difference(ours, theirs)
    here, there = (spelling.described(ids[position]) if position < len(ids) else "missing" for ids in (ours, theirs))
    return f"token {position} is {here} here and {there} there"


def _refusal(text: str, difference: str) -> str:
    return (
        f"the server's tokenizer is not the one that was given: of {quoted(text)} {difference}. Give the tokenizer of "
        "the model that is served."
    )
