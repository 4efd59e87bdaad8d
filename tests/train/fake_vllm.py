"""TRL's client of vLLM, without vLLM."""

from collections.abc import Callable
from typing import Any


class FakeVLLM:
    """TRL's VLLMGeneration as the trainer uses it: fixed responses, and log-probabilities that are a little off."""

    def __init__(
        self, respond: Callable[[list[int]], list[int]], logprob: Callable[[list[int], list[int]], list[float]]
    ):
        self.logprobs: int | None = None
        self.generation_kwargs: dict[str, Any] = {}
        self.temperature, self.max_completion_length, self.enable_sleep_mode = 1.0, 100, False
        self.synced = 0
        self._respond, self._logprob = respond, logprob

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any = None) -> Any:
        assert num_generations == 1
        completions = [self._respond(ids) for ids in prompts]
        logprobs = [[[value] for value in self._logprob(p, c)] for p, c in zip(prompts, completions, strict=True)]
        return prompts, completions, logprobs, [[[token] for token in ids] for ids in completions]
