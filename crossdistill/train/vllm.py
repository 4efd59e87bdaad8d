"""The log-probabilities that vLLM sampled with, which TRL's distillation discards, and the weights that it is sent."""

from typing import Any

import numpy as np
from torch import nn

from crossdistill.errors import InputError
from crossdistill.objectives.shared import auxiliary_heads


class KeepSampledLogprobs:
    """Wraps TRL's ``VLLMGeneration``: asks for the sampled token's log-probability and keeps the latest ones.

    What an objective trains beside `student` is not sent along with its weights: vLLM has no place for it.
    """

    def __init__(self, generation: Any, student: nn.Module):
        self._generation = generation
        self._student = student
        self._latest: list[np.ndarray] = []
        generation.logprobs = 0  # the sampled token's alone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generation, name)

    def sync_weights(self) -> None:
        with auxiliary_heads.detached(self._student):
            self._generation.sync_weights()

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        result = self._generation.generate(*args, **kwargs)
        self._latest = [_sampled(row) for row in result[2]]
        return result

    def take(self) -> list[np.ndarray]:
        """Nats, float32 [tokens] of each response of the latest call, in order."""
        return self._latest


def _sampled(row: list[list[float | None]]) -> np.ndarray:
    values = [token[0] for token in row]
    if any(value is None for value in values):
        raise InputError("vLLM returned NaN log-probabilities for its own sample: check the weights it was given.")
    return np.array(values, dtype=np.float32)
