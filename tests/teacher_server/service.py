"""The server's answers if nothing goes wrong."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crossdistill.chat import render_prompt
from crossdistill.teachers.writing import write_responses
from tests.teacher_server import wire
from tests.teacher_server.faults import Fault
from tests.teacher_server.log import Seen
from tests.teacher_server.scoring import Row, Scorer, prompt_rows, row_of, wanted_row

Answer = tuple[int, Any]
"""Status and JSON object."""

VLLM_FIELDS = ("prompt_logprobs", "logprob_token_ids", "return_tokens_as_token_ids")


@dataclass
class Settings:
    """The kind of a server.

    Attributes:
        vllm: whether it has prompt_logprobs, logprob_token_ids and /tokenize.
        takes_ids: whether it takes prompts as token ids too, and not only as text.
        refuses_unknown: whether it refuses fields that it does not know instead of ignoring them.
        max_logprobs: most tokens that it gives at a position.
        min_max_tokens: the smallest max_tokens that it accepts.
        byte_names: whether it names a token that is not UTF-8 "bytes:\\x.." (OpenAI) instead of using the replacement
            character.
        key: the API key that it requires; None for none.
        name: of its model.
    """

    vllm: bool = True
    takes_ids: bool = True
    refuses_unknown: bool = True
    max_logprobs: int = 20
    min_max_tokens: int = 0
    byte_names: bool = False
    key: str | None = None
    name: str = "tiny"


class Service:
    """A model under a name, and the server's settings."""

    def __init__(self, scorer: Scorer, settings: Settings):
        self.scorer, self.settings = scorer, settings
        self._lock = threading.Lock()  # one request after the other: threads of one interpreter gain nothing

    def models(self) -> dict[str, Any]:
        card = {"id": self.settings.name, "object": "model", "created": 0, "owned_by": "tests"}
        if self.settings.vllm:
            card |= {"root": self.settings.name, "max_model_len": self.scorer.max_length}
        return {"object": "list", "data": [card]}

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = self.scorer.encode(body["prompt"])
        return {"count": len(tokens), "max_model_len": self.scorer.max_length, "tokens": tokens, "token_strs": None}

    def ids_of(self, prompt: Any) -> tuple[int, ...]:
        return tuple(self.scorer.encode(prompt) if isinstance(prompt, str) else prompt)

    def completions(self, seen: Seen, fault: Fault | None) -> Answer:
        body = seen.body
        refusal = next((answer for holds, answer in self._refusals(body, seen.ids) if holds), None)
        if refusal is not None:
            return refusal
        if not self.settings.vllm:
            body = {name: value for name, value in body.items() if name not in VLLM_FIELDS}
        with self._lock:
            scored = self._scored(list(seen.ids), body)
            if fault is not None and fault.rows is not None and seen.scores:
                scored = fault.rows(scored)
            return 200, self._written(body, scored)

    def chat(self, body: dict[str, Any]) -> Answer:
        """The model's greedy answer, whatever the temperature is."""
        if body.get("model") != self.settings.name:
            return wire.error(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError")
        tokenizer, kwargs = self.scorer.tokenizer, body.get("chat_template_kwargs") or {}
        num_prompt = len(render_prompt(tokenizer, body["messages"], kwargs))
        with self._lock:
            arguments = self.scorer.model, tokenizer, [body["messages"]], body["max_tokens"]
            [response] = write_responses(*arguments, template_kwargs=kwargs)
        reason = "stop" if response.stopped else "length"
        return 200, wire.chat_completion(self.settings.name, response.text, reason, num_prompt, response.num_tokens)

    def _refusals(self, body: dict[str, Any], ids: tuple[int, ...]) -> list[tuple[bool, Answer]]:
        settings, most, max_tokens = self.settings, self.scorer.max_length, body.get("max_tokens", 16)
        unknown = [name for name in VLLM_FIELDS if name in body]
        wanted = max(body.get("prompt_logprobs") or 0, body.get("logprobs") or 0)
        return [
            (
                body.get("model") not in (None, settings.name),
                wire.error(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError"),
            ),
            (
                not settings.takes_ids and not isinstance(body["prompt"], str),
                wire.error(400, "prompt: Input should be a valid string"),
            ),
            (
                not settings.vllm and settings.refuses_unknown and bool(unknown),
                wire.error(400, f"Unrecognized request argument supplied: {', '.join(unknown)}"),
            ),
            (
                max_tokens < settings.min_max_tokens,
                wire.error(400, f"max_tokens must be at least {settings.min_max_tokens}, got {max_tokens}."),
            ),
            (
                max(ids, default=0) >= self.scorer.vocab_size,
                wire.error(400, f"Token id {max(ids, default=0)} is out of vocabulary"),
            ),
            (
                len(ids) > most,
                wire.error(
                    400,
                    f"This model's maximum context length is {most} tokens. However, your prompt contains {len(ids)} "
                    "input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
                    "of the input prompt.",
                ),
            ),
            (len(ids) == most and max_tokens > 0, wire.error(400, "max_tokens must be at least 1, got 0.")),
            (
                wanted > settings.max_logprobs,
                wire.error(
                    400,
                    f"Requested prompt logprobs of {wanted}, which is greater than max allowed: "
                    f"{settings.max_logprobs}",
                ),
            ),
        ]

    def _scored(self, ids: list[int], body: dict[str, Any]) -> wire.Scored:
        log_probs = self.scorer.log_probs(ids)
        prompt_k = body.get("logprobs") if body.get("echo") else None
        if body.get("prompt_logprobs") is not None:
            prompt_k = body["prompt_logprobs"]
        scored = wire.Scored(ids, [] if prompt_k is None else prompt_rows(log_probs, ids, prompt_k))
        if body.get("max_tokens", 16):  # no test needs more than one token
            last = log_probs[-1]
            sampled = int(last.argmax())
            wanted = body.get("logprob_token_ids")
            row = wanted_row(last, sampled, wanted) if wanted else row_of(last, sampled, body.get("logprobs") or 0)
            scored.generated, scored.next_rows = [sampled], [row]
        return scored

    def _written(self, body: dict[str, Any], scored: wire.Scored) -> dict[str, Any]:
        ids: list[int] = [*scored.ids, *scored.generated] if body.get("echo") else scored.generated
        rows: list[Row | None] = [*scored.rows, *scored.next_rows] if body.get("echo") else [*scored.next_rows]
        choice: dict[str, Any] = {"text": "".join(map(self.scorer.decode, ids)), "logprobs": None}
        if body.get("logprobs") is not None:
            choice["logprobs"] = wire.logprobs(ids, rows, self._namer(body))
        if self.settings.vllm:
            choice["prompt_logprobs"] = wire.prompt_logprobs(scored.rows, self.scorer.decode) if scored.rows else None
        return wire.completion(self.settings.name, choice, len(scored.ids), len(scored.generated))

    def _namer(self, body: dict[str, Any]) -> Callable[[int], str]:
        """How a token is named in OpenAI's lists."""
        if body.get("return_tokens_as_token_ids"):
            return lambda token_id: f"token_id:{token_id}"
        return self._text

    def _text(self, token_id: int) -> str:
        text = self.scorer.decode(token_id)
        if not self.settings.byte_names or "\ufffd" not in text:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.scorer.raw_bytes(token_id))
