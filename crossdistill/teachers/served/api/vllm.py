"""vLLM's own fields of the OpenAI-compatible ``/v1/completions``: scores of a prompt, by token id."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossdistill.teachers.served.api.dialect import (
    FLOOR_NATS,
    ID_PREFIX,
    PromptLogprobs,
    field,
    number,
    possible,
    sound,
    token_number,
    with_top,
)
from crossdistill.teachers.served.http.errors import Malformed, quoted, shown

_MAX_WANTED = 128


class Vllm:
    """``prompt_logprobs`` for scores, ``logprob_token_ids`` (of later versions) for what comes next.

    A request for prompt scores never reads the server's cache of prefixes, but fills it; one for what comes next reads
    it, and costs a token.

    Args:
        vocab_size: ids that the model may name.
    """

    name = "vllm"
    path = "/v1/completions"
    num_generated = 1  # it generates one token at least

    def __init__(self, vocab_size: int):
        self._vocab_size = vocab_size

    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        return {"prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": top_k}

    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        rows = _rows(answer)
        if len(rows) != len(ids) or rows[0] is not None:
            raise Malformed(f"the answer scores {len(rows)} tokens, the first as {shown(rows[:1])}, of {len(ids)}")
        entries = [self._entries(row, k + 1) for k, row in enumerate(rows[1:])]
        pairs = zip(entries, ids[1:], strict=True)
        logprobs = sound([_chosen(*pair, k + 1) for k, pair in enumerate(pairs)])
        if top_k == 0:
            return PromptLogprobs(logprobs)
        tops = [_top(row, top_k, k + 1) for k, row in enumerate(entries)]
        return with_top(tops, ids[1:], logprobs)

    def tokens(self, answer: Any) -> list[str | None]:
        """The token that is there stands first at its place; of the very first token nothing is said."""
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

    def _entries(self, row: Any, position: int) -> dict[int, float]:
        """id -> log-probability at one position. There are hundreds of thousands, nearly always as they should be."""
        entries = _plain_entries(row)
        if entries is None:
            entries = self._odd_entries(row, position)
        if max(entries, default=0) >= self._vocab_size:
            unknown = next(token_id for token_id in entries if token_id >= self._vocab_size)
            raise Malformed(f"the answer names token {unknown} at position {position}, which this vocabulary has not")
        return entries

    def _odd_entries(self, row: Any, position: int) -> dict[int, float]:
        if not isinstance(row, dict):
            raise Malformed(f"the answer has no log-probability at position {position}")
        place = f"at position {position}"
        return {_id(key, position): number(field(entry, "logprob"), place) for key, entry in row.items()}


def _rows(answer: Any) -> list[Any]:
    rows = field(answer, "choices", 0, "prompt_logprobs")
    if not isinstance(rows, list):
        raise Malformed("the answer has no list of prompt_logprobs")
    return rows


def _plain_entries(row: Any) -> dict[int, float] | None:
    """Those of a row as vLLM writes it; None for any other."""
    if not isinstance(row, dict) or not all(map(str.isdecimal, row)) or max(map(len, row), default=10) >= 10:
        return None
    try:
        values = [entry["logprob"] for entry in row.values()]
    except (KeyError, TypeError, IndexError):
        return None
    if set(map(type, values)) != {float} or min(values) <= FLOOR_NATS:
        return None
    return dict(zip(map(int, row), values, strict=True))


def _id(key: str, position: int) -> int:
    token_id = token_number(key)
    if token_id is None:
        raise Malformed(f"the answer names a token {quoted(key)} at position {position}, which is no number")
    return token_id


def _chosen(row: dict[int, float], token_id: int, position: int) -> float:
    if token_id not in row:
        raise Malformed(f"the answer does not score token {token_id}, which was sent at position {position}")
    return row[token_id]


def _top(row: dict[int, float], top_k: int, position: int) -> dict[int, float]:
    """The most probable: the token that is there is added to them where it is none of them."""
    if len(row) < top_k:
        raise Malformed(f"the answer names {len(row)} tokens at position {position}, of {top_k} asked for")
    return dict(sorted(row.items(), key=lambda item: -item[1])[:top_k])


def _name(entry: Any) -> str | None:
    name = entry.get("decoded_token") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None
