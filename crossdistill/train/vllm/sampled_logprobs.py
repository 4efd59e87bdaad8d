"""vLLM as TRL calls it, with the sampled log-probabilities kept and the auxiliary heads left out of its weights."""

from typing import Any

import numpy as np
from torch import nn

from crossdistill.errors import InputError
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.train.vllm.sync_probe import SyncProbe


class KeepSampledLogprobs:
    """Wraps TRL's ``VLLMGeneration``: requests the sampled tokens' log-probabilities, which TRL discards.

    Args:
        generation: TRL's ``VLLMGeneration``; everything else is passed on to it.
        student: the model whose weights it sends. Auxiliary heads are detached meanwhile: vLLM has no place for them.

    Attributes:
        probe: finds out whether weights arrive.
    """

    def __init__(self, generation: Any, student: nn.Module):
        self._generation = generation
        self._student = student
        self._latest: list[np.ndarray] = []
        generation.logprobs = 0  # of the sampled token alone
        self.probe = SyncProbe(generation, student)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generation, name)

    def sync_weights(self) -> None:
        """Send the student's weights to vLLM."""
        with auxiliary_heads.detached(self._student):
            self._generation.sync_weights()

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Sample, as TRL does.

        Raises:
            InputError: vLLM returned NaN for a token that it sampled.
        """
        result = self._generation.generate(*args, **kwargs)
        self._latest = [_sampled(row) for row in result[2]]
        return result

    def take(self) -> list[np.ndarray]:
        """Log-probabilities of the latest call's samples: nats, float32 [tokens] of each response, in order."""
        return self._latest


def _sampled(row: list[list[float | None]]) -> np.ndarray:
    values = [token[0] for token in row]
    if any(value is None for value in values):
        raise InputError("vLLM returned NaN log-probabilities for its own sample: check the weights that it was sent.")
    return np.array(values, dtype=np.float32)
