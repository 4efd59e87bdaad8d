"""A server without a network: its answers, in vLLM's form or OpenAI's, come from a random function of the prefix.

Every log-probability is known, in float64, so that a teacher's scores can be checked.
"""

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from tests.models import teacher_tokenizer

Handler = Callable[[str, dict[str, Any]], httpx.Response | Exception | None]


class RandomModel:
    """Next-token distributions drawn from a generator seeded with the prefix."""

    def __init__(self, size: int, seed: int = 0):
        self.size, self.seed = size, seed

    def log_probs(self, prefix: tuple[int, ...]) -> np.ndarray:
        logits = 2 * np.random.default_rng([self.seed, *prefix]).standard_normal(self.size)
        return logits - np.log(np.exp(logits).sum())


def top(row: np.ndarray, k: int, also: int) -> dict[int, float]:
    """The realised token first, as vLLM has it, then the k most probable."""
    best = np.argsort(-row, kind="stable")[:k]
    return {token: float(row[token]) for token in dict.fromkeys([also, *best.tolist()])}


class MockServer:
    """A handler for httpx.MockTransport.

    Attributes:
        dialect: "vllm" or "completions".
        models: name -> length of its context; None if models are not listed.
        most: largest k.
        has_next: whether vLLM has logprob_token_ids.
        has_tokenize: whether vLLM has /tokenize.
        takes_ids: whether completions take token ids.
        least_generated: smallest max_tokens of completions.
        names: names of tokens in completions.
        numbers: whether completions can name tokens by number.
        intercept: gets each request first, and may answer it or give an exception to raise.
        seen: path and body of each request.
    """

    def __init__(self, dialect: str = "vllm", seed: int = 0):
        self.tokenizer = teacher_tokenizer()
        self.model = RandomModel(len(self.tokenizer), seed)
        self.dialect = dialect
        self.models: dict[str, int | None] | None = {"tiny": 200}
        self.most = 20
        self.has_next = self.has_tokenize = True
        self.takes_ids, self.least_generated = True, 0
        self.names: Callable[[int], str] = self.tokenizer.convert_ids_to_tokens
        self.numbers = False
        self.intercept: Handler = lambda path, body: None
        self.seen: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path
        self.seen.append((path, body))
        early = self.intercept(path, body)
        if isinstance(early, Exception):
            raise early
        answer = early or self.answer(path, body)
        return streamed(answer) if answer.is_stream_consumed else answer

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    @property
    def scored(self) -> list[tuple[int, ...]]:
        """Ids of the requests for scores, in order."""
        return [
            tuple(body["prompt"])
            for path, body in self.seen
            if path == "/v1/completions" and "logprob_token_ids" not in body
        ]

    def answer(self, path: str, body: dict[str, Any]) -> httpx.Response:
        if path == "/v1/models" and self.models is not None:
            data = [{"id": name} | ({} if m is None else {"max_model_len": m}) for name, m in self.models.items()]
            return httpx.Response(200, json={"object": "list", "data": data})
        if path == "/tokenize" and self.has_tokenize and self.dialect == "vllm":
            ids = self.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
            return httpx.Response(200, json={"tokens": ids, "count": len(ids)})
        if path == "/v1/completions":
            return self.vllm(body) if self.dialect == "vllm" else self.completions(body)
        return httpx.Response(404, json={"error": {"message": "Not Found", "code": 404}})

    def vllm(self, body: dict[str, Any]) -> httpx.Response:
        ids = tuple(body["prompt"])
        if "logprob_token_ids" in body:
            if not self.has_next:
                return refused("unexpected field logprob_token_ids")
            row = self.model.log_probs(ids)
            wanted = {f"token_id:{token}": float(row[token]) for token in body["logprob_token_ids"]}
            return self.completion({"logprobs": {"top_logprobs": [wanted]}})
        if "prompt_logprobs" not in body:
            return refused("prompt_logprobs missing")
        k = body["prompt_logprobs"]
        if k > self.most:
            return refused(f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.most}")
        rows = [top(self.model.log_probs(ids[:j]), k, ids[j]) for j in range(1, len(ids))]
        return self.completion({"prompt_logprobs": [None, *[self.entries(row) for row in rows]]})

    def entries(self, row: dict[int, float]) -> dict[str, Any]:
        return {
            str(token): {"logprob": value, "rank": 1, "decoded_token": self.names(token)}
            for token, value in row.items()
        }

    def completions(self, body: dict[str, Any]) -> httpx.Response:
        if "prompt_logprobs" in body or (body.get("return_tokens_as_token_ids") and not self.numbers):
            return refused("unknown argument")
        if body["max_tokens"] < self.least_generated:
            return refused("max_tokens is too small")
        prompt = body["prompt"]
        if isinstance(prompt, str):
            prompt = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        elif not self.takes_ids:
            return refused("prompt must be a text")
        ids = tuple(prompt) + (7,) * body["max_tokens"]
        name = (lambda token: f"token_id:{token}") if body.get("return_tokens_as_token_ids") else self.names
        rows = [self.model.log_probs(ids[:j]) for j in range(1, len(ids))]
        k = min(body["logprobs"], self.most)
        tops = [{name(token): value for token, value in top(row, k, ids[j + 1]).items()} for j, row in enumerate(rows)]
        values = [float(row[ids[j + 1]]) for j, row in enumerate(rows)]
        return self.completion(
            {
                "logprobs": {
                    "tokens": [name(token) for token in ids],
                    "token_logprobs": [None, *values],
                    "top_logprobs": [None, *tops],
                }
            }
        )

    def completion(self, choice: dict[str, Any]) -> httpx.Response:
        name = next(iter(self.models)) if self.models else "tiny"
        return httpx.Response(200, json={"model": name, "choices": [{"index": 0, **choice}]})


def streamed(response: httpx.Response) -> httpx.Response:
    """A response whose body is not read yet, as from a network."""
    return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))


def refused(message: str, status: int = 400, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "code": status}}, headers=headers)
