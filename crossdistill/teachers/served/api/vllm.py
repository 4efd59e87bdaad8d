"""The dialect of vLLM's own fields in ``/v1/completions``: log-probabilities of a prompt, by token id."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from crossdistill.teachers.served.api.answers import (
    FLOOR_NATS,
    ID_PREFIX,
    PromptLogprobs,
    field,
    number,
    possible,
    realised,
    token_number,
    with_top,
)
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.api.token_names import TokenNames
from crossdistill.teachers.served.http.errors import Malformed, quoted

_MAX_WANTED = 128


class Vllm(Dialect):
    """``prompt_logprobs`` for a prompt, ``logprob_token_ids`` (of later versions) for the next token.

    A request with ``prompt_logprobs`` fills the server's prefix cache but never reads it; one for the next token reads
    it, and generates a token. It gives rows for the whole prompt or for none: of those that are not wanted only the
    tokens that were sent are checked.

    Args:
        vocab_size: number of ids that an answer may contain.
    """

    name = "vllm"
    num_generated = 1  # the least that it takes

    def __init__(self, vocab_size: int):
        self._vocab_size = vocab_size

    @classmethod
    def variants(cls, tokenizer: Any, names: TokenNames) -> Iterator[Dialect]:
        yield cls(names.vocab_size)

    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        return {"prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": top_k}

    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        return self.read_from(answer, ids, top_k, 0)

    def read_from(self, answer: Any, ids: Sequence[int], top_k: int, first: int) -> PromptLogprobs:
        rows = _rows(answer)
        if len(rows) != len(ids):
            raise Malformed(f"the answer scores {len(rows)} tokens instead of {len(ids)}")
        if rows[0] is not None:
            raise Malformed("the answer scores the first token, which nothing precedes")
        prompt = zip(rows[1 : first + 1], ids[1 : first + 1], strict=True)
        values = [self._of_token(*pair, k) for k, pair in enumerate(prompt, 1)]
        entries = [self._entries(row, k) for k, row in enumerate(rows[first + 1 :], first + 1)]
        pairs = zip(entries, ids[first + 1 :], strict=True)
        values += [_realised(*pair, k) for k, pair in enumerate(pairs, first + 1)]
        logprobs = realised(values)[first:]
        if top_k == 0:
            return PromptLogprobs(logprobs)
        tops = [_top(row, top_k, k) for k, row in enumerate(entries, first + 1)]
        return with_top(tops, ids[first + 1 :], logprobs, first)

    def tokens(self, answer: Any) -> list[str | None]:
        """Names from ``decoded_token``: the realised token comes first at each position; the first row is empty."""
        rows = _rows(answer)
        return [None if row is None else _name(next(iter(row.values()), None)) for row in rows]

    def next_body(self, ids: Sequence[int], wanted: Sequence[int]) -> dict[str, Any] | None:
        if len(wanted) > _MAX_WANTED:
            return None
        return {
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 1,  # a server may report what it samples from
            "top_p": 1,
            "logprobs": len(wanted),
            "logprob_token_ids": list(wanted),
            "return_tokens_as_token_ids": True,
        }

    def read_next(self, answer: Any, wanted: Sequence[int]) -> np.ndarray:
        row = field(answer, "choices", 0, "logprobs", "top_logprobs", 0)
        return possible([number(field(row, f"{ID_PREFIX}{k}"), f"of token {k}") for k in wanted])

    def _of_token(self, row: Any, token_id: int, position: int) -> float:
        """The log-probability of the token that was sent, without reading the others of its row."""
        entry = row.get(str(token_id)) if isinstance(row, dict) else None
        if entry is None:  # another form, or another token
            return _realised(self._entries(row, position), token_id, position)
        return number(field(entry, "logprob"), f"at position {position}")

    def _entries(self, row: Any, position: int) -> dict[int, float]:
        """id -> log-probability at one position. A batch has hundreds of thousands: the usual form is read faster."""
        entries = _usual_entries(row)
        if entries is None:
            entries = _parsed_entries(row, position)
        if max(entries, default=0) >= self._vocab_size:
            unknown = next(token_id for token_id in entries if token_id >= self._vocab_size)
            raise Malformed(f"the answer names token {unknown} at position {position}, which this vocabulary lacks")
        return entries


def _rows(answer: Any) -> list[Any]:
    rows = field(answer, "choices", 0, "prompt_logprobs")
    if not isinstance(rows, list):
        raise Malformed("the answer has no list of prompt_logprobs")
    return rows


def _usual_entries(row: Any) -> dict[int, float] | None:
    """Entries of a row in the form that vLLM writes; None for a row in any other form."""
    if not isinstance(row, dict) or not all(map(str.isdecimal, row)) or max(map(len, row), default=10) >= 10:
        return None
    try:
        values = [entry["logprob"] for entry in row.values()]
    except (KeyError, TypeError, IndexError):
        return None
    if set(map(type, values)) != {float} or min(values) <= FLOOR_NATS:
        return None
    return dict(zip(map(int, row), values, strict=True))


def _parsed_entries(row: Any, position: int) -> dict[int, float]:
    if not isinstance(row, dict):
        raise Malformed(f"the answer has no log-probability at position {position}")
    place = f"at position {position}"
    return {_id(key, position): number(field(entry, "logprob"), place) for key, entry in row.items()}


def _id(key: str, position: int) -> int:
    token_id = token_number(key)
    if token_id is None:
        raise Malformed(f"the answer names a token {quoted(key)} at position {position}, which is not a number")
    return token_id


def _realised(row: dict[int, float], token_id: int, position: int) -> float:
    if token_id not in row:
        raise Malformed(f"the answer does not score token {token_id}, which was sent at position {position}")
    return row[token_id]


def _top(row: dict[int, float], top_k: int, position: int) -> dict[int, float]:
    """The most probable tokens; vLLM adds the realised one if it is not among them."""
    if len(row) < top_k:
        raise Malformed(f"the answer names {len(row)} tokens at position {position} instead of {top_k}")
    return dict(sorted(row.items(), key=lambda item: -item[1])[:top_k])


def _name(entry: Any) -> str | None:
    name = entry.get("decoded_token") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None
