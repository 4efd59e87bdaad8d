"""An engine behind a server: the student on vLLM, asked for its samples over HTTP."""

import threading
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from crossdistill.distill import Distiller
from crossdistill.errors import InputError, RolloutServerError
from crossdistill.integrations.async_trl.sampler import Sampled, Sampler

_PROBE = "Sum: 12 + 30 = 42, naïve café.\n"
_SAME = 1e-4  # nats
_HEALTH_S = 30.0  # a busy server answers late
_MAX_SHOWN = 200


class _TryAgainError(Exception):
    """The server is busy, restarting or out of reach."""


class ServedSampler(Sampler):
    """Samples from the student on a vLLM server.

    The weights get there by the trainer's `weight_transfer`, TRL's over NCCL by default.

    Args:
        url: of the server, ``http://host:port``.
        distiller: whose tokenizer, stop ids and temperature hold.
        max_tokens: of a response, at most.
        num_calls: calls that are under way at the same time.
        patience_s: seconds to wait for a server that is out of reach.
        timeout_s: of one call.
        transport: replaces the network, for tests.

    Example:
        One worker that keeps a server busy::

            sampler = ServedSampler("http://localhost:8000", distiller, max_tokens=16384)
            worker = RolloutWorker(distiller, rows, sampler, portion=8)
    """

    def __init__(
        self,
        url: str,
        distiller: Distiller,
        max_tokens: int,
        *,
        num_calls: int = 32,
        patience_s: float = 300.0,
        timeout_s: float = 3600.0,
        transport: httpx.BaseTransport | None = None,
    ):
        self.url, self.num_calls = url.rstrip("/").removesuffix("/v1"), num_calls
        self._distiller, self._max_tokens, self._patience_s = distiller, max_tokens, patience_s
        self._client = httpx.Client(timeout=httpx.Timeout(timeout_s, connect=10.0), transport=transport)
        self._closed = threading.Event()
        self._model: str | None = None

    # ---- before sampling --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check that the server serves the student, and gives the log-probabilities that are needed.

        Raises:
            InputError: another tokenizer, no log-probabilities, or those of another temperature.
            RolloutServerError: the server is out of reach.
        """
        self._closed.clear()
        tokenizer = self._distiller.renderer.tokenizer
        wanted = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        body = {"model": self.model, "prompt": _PROBE, "add_special_tokens": False}
        if self._post("/tokenize", body).get("tokens") != list(wanted):
            raise InputError(
                f"the server at {self.url} reads a text as other tokens than the student's tokenizer: it serves "
                f"{self.model!r}, another model; serve the student there."
            )
        temperature = self._distiller.temperature
        if temperature != 1 and abs(self._top_logprob(wanted, 1.0) - self._top_logprob(wanted, temperature)) < _SAME:
            raise InputError(
                f"the server at {self.url} gives log-probabilities at temperature 1 and samples at {temperature:g}: "
                "start it with --logprobs-mode processed_logprobs."
            )

    @property
    def model(self) -> str:
        """Name of the served model."""
        if self._model is None:
            served = self._post("/v1/models", None).get("data") or [{}]
            if "id" not in served[0]:
                raise InputError(f"the server at {self.url} names no model at /v1/models: serve the student with vLLM.")
            self._model = str(served[0]["id"])
        return self._model

    def _top_logprob(self, ids: Sequence[int], temperature: float) -> float:
        body = {"prompt": list(ids), "max_tokens": 1, "temperature": temperature, "logprobs": 1}
        (choice,) = self._complete(body, 1)
        return max(_logprobs(self.url, choice)["top_logprobs"][0].values())

    # ---- sampling ---------------------------------------------------------------------------------------------------

    def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
        body = {
            "prompt": [list(ids) for ids in prompt_ids],
            "max_tokens": self._max_tokens,
            "temperature": self._distiller.temperature,
            # a server fills what is left open from the model's generation_config.json
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": list(self._distiller.stop_ids),
            "logprobs": 0,
            "return_token_ids": True,
        }
        return [self._sampled(choice) for choice in self._complete(body, len(prompt_ids))]

    def prompt_logprobs(self, prompt_ids: Sequence[Sequence[int]]) -> list[np.ndarray] | None:
        """As of any engine. The server reads nothing from its prefix cache for it, which could be of older weights."""
        body = {"prompt": [list(ids) for ids in prompt_ids], "max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0}
        rows: list[Any] = [choice.get("prompt_logprobs") for choice in self._complete(body, len(prompt_ids))]
        if any(row is None for row in rows):
            return None
        return [
            np.array([entry[str(token)]["logprob"] for token, entry in zip(ids[1:], row[1:], strict=True)])
            for ids, row in zip(prompt_ids, rows, strict=True)
        ]

    def _sampled(self, choice: dict[str, Any]) -> Sampled:
        if choice.get("token_ids") is None:
            raise InputError(
                f"the server at {self.url} returns no token ids: it must know return_token_ids (vLLM 0.22 or newer)."
            )
        logprobs = np.array(_logprobs(self.url, choice)["token_logprobs"], dtype=np.float32)
        return Sampled([int(token) for token in choice["token_ids"]], logprobs)

    def _complete(self, body: dict[str, Any], count: int) -> list[dict[str, Any]]:
        choices = self._post("/v1/completions", {"model": self.model, **body}).get("choices") or []
        if len(choices) != count:
            raise RolloutServerError(f"the server at {self.url} gave {len(choices)} responses to {count} prompts.")
        return sorted(choices, key=lambda choice: choice["index"])

    def _post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """The answer to a request; None gets instead of posting.

        Raises:
            RolloutServerError: the server refuses it, or is out of reach for longer than the patience.
        """
        tries = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            wait=wait_exponential(multiplier=0.2, max=10),
            stop=lambda state: self._closed.is_set() or stop_after_delay(self._patience_s)(state),
            sleep=self._pause,
        )
        try:
            return tries(self._once, path, body)
        except RetryError as error:
            cause = error.last_attempt.exception()
            raise RolloutServerError(
                f"the server at {self.url} that samples did not answer for {self._patience_s:g} s ({cause}): see "
                "whether it still runs; what was trained so far is sound."
            ) from None

    def _pause(self, seconds: float) -> None:
        self._closed.wait(seconds)

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            response = (
                self._client.get(self.url + path) if body is None else self._client.post(self.url + path, json=body)
            )
        except httpx.TransportError as error:
            raise _TryAgainError(f"{type(error).__name__}: {error}") from None
        if response.status_code >= 500 or response.status_code == 429:
            raise _TryAgainError(f"status {response.status_code}")
        if response.status_code != 200:
            raise RolloutServerError(
                f"the server at {self.url} refuses {path} with status {response.status_code}: {response.text[:300]}"
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RolloutServerError(
                f"the server at {self.url} answers {path} with something else than vLLM's JSON "
                f"({' '.join(response.text.split())[:_MAX_SHOWN]!r}): see whether the address is that of vLLM."
            )
        return answer

    def is_well(self) -> bool:
        """Whether the server answers at /health; a call ends by `timeout_s` in any case."""
        try:
            return self._client.get(f"{self.url}/health", timeout=_HEALTH_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._closed.set()


def _logprobs(url: str, choice: dict[str, Any]) -> dict[str, Any]:
    found = choice.get("logprobs")
    if not found or any(value is None for value in found.get("token_logprobs") or [None]):
        raise InputError(
            f"the server at {url} gives no log-probabilities of what it samples, and the importance ratio needs them: "
            "serve the student with vLLM, and do not limit --max-logprobs to 0."
        )
    return dict(found)
