"""Answers of `/v1/completions` on the wire.

Two forms, written from the servers' own documentation: vLLM's `prompt_logprobs`, and OpenAI's `echo` with `logprobs`.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tests.teacher_server.scoring import Row

LOWEST = -9999.0  # in place of minus infinity, for which JSON has no number


@dataclass
class Scored:
    """The content of an answer before it is written; faults change it here.

    Attributes:
        ids: of the prompt.
        rows: of the prompt, one for each id; the first is None.
        generated: ids after the prompt.
        next_rows: one for each generated id.
    """

    ids: list[int]
    rows: list[Row | None]
    generated: list[int] = field(default_factory=list)
    next_rows: list[Row] = field(default_factory=list)


def completion(model: str, choice: dict[str, Any], num_prompt: int, num_generated: int) -> dict[str, Any]:
    return {
        "id": "cmpl-0",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "finish_reason": "length", "stop_reason": None, **choice}],
        "usage": {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_generated,
            "total_tokens": num_prompt + num_generated,
        },
    }


def chat_completion(
    model: str, content: str | None, finish_reason: str, num_prompt: int, num_generated: int
) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"message": message, "finish_reason": finish_reason}
    return {**completion(model, choice, num_prompt, num_generated), "id": "chatcmpl-0", "object": "chat.completion"}


def prompt_logprobs(rows: list[Row | None], decode: Callable[[int], str]) -> list[dict[str, Any] | None]:
    """vLLM's list: None, then for each position {id: {logprob, rank, decoded_token}}."""
    return [
        None
        if row is None
        else {
            str(token_id): {
                "logprob": max(entry.logprob, LOWEST),
                "rank": entry.rank,
                "decoded_token": decode(token_id),
            }
            for token_id, entry in row.items()
        }
        for row in rows
    ]


def logprobs(ids: list[int], rows: list[Row | None], name: Callable[[int], str]) -> dict[str, Any]:
    """OpenAI's object: parallel lists, with the tokens' names as keys."""
    tokens = [name(token_id) for token_id in ids]
    offsets = list(accumulate((len(token) for token in tokens), initial=0))[:-1]
    return {
        "tokens": tokens,
        "token_logprobs": [row and max(next(iter(row.values())).logprob, LOWEST) for row in rows],
        "top_logprobs": [
            row and {name(token_id): max(entry.logprob, LOWEST) for token_id, entry in row.items()} for row in rows
        ],
        "text_offset": offsets,
    }


def error(status: int, message: str, kind: str = "BadRequestError") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": kind, "param": None, "code": status}}


def encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()
