"""Sync probe: once the student's weights have changed, vLLM must answer the same question otherwise.

The comparison is exact, so neither the learning rate nor the numerics of two engines matter: an answer that is the same
in all digits was computed with the same weights. Whatever makes vLLM answer otherwise by itself, such as requests of
others that share its batches, can hide old weights, but not feign them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.ops.sharded import own_part

QUESTION_TOKENS = 15
"""Fewer than in a block of vLLM's prefix cache, from which no part of an answer may come."""
SETTINGS = {
    "temperature": 2.0,  # vLLM's largest: rare tokens have a share in log-probabilities, which certain ones round to 0
    "max_completion_length": 16,
    "generation_kwargs": {"seed": 0, "ignore_eos": True},
}
"""Of the answer."""


class SyncProbe:
    """Asks an engine the same question after each step, and compares the answer with the one before.

    Args:
        generation: TRL's ``VLLMGeneration``.
        student: the model whose weights it is sent.
    """

    def __init__(self, generation: Any, student: nn.Module):
        self._generation = generation
        self._student = student
        self._step = -1
        self._question: list[int] = []
        self._weights: Tensor | None = None
        self._answer: Any = None

    def is_stale(self, step: int, prompt: Sequence[int]) -> bool:
        """Whether the engine answers as before, although at least half of the parameters have changed.

        Every process must call it.

        Args:
            step: optimisation steps made before. The question is asked once in each.
            prompt: the first one ends with the question.

        Raises:
            RolloutServerError: the engine failed.
        """
        if step == self._step or self._generation.enable_sleep_mode:  # which discards weights, and has to be sent them
            return False
        self._step, self._question = step, self._question or list(prompt[-QUESTION_TOKENS:])
        weights, answer = self._fingerprint(), self._ask()
        is_same, self._answer = answer == self._answer, answer
        before, self._weights = self._weights, weights
        if before is None:
            return False
        changed = int((weights != before).sum())
        # the ends of a schedule change a few weights of a few layers, which the rounding of activations may hide
        return is_same and 0 < len(weights) <= 2 * changed

    def _ask(self) -> Any:
        """-> ids and log-probabilities."""
        with _set(self._generation, SETTINGS):
            _, *answer = self._generation.generate([self._question], None, num_generations=1)
        return answer

    def _fingerprint(self) -> Tensor:
        """-> [P]: of the part of each trained parameter that this process has.

        In bfloat16, the coarsest dtype in which vLLM is likely to hold them: what changes there changes in vLLM.
        """
        with auxiliary_heads.detached(self._student):
            trained = [own_part(param).detach() for param in self._student.parameters() if param.requires_grad]
        sums = [part.to(torch.bfloat16).view(torch.int16).sum(dtype=torch.int64).cpu() for part in trained]
        return torch.stack(sums) if sums else torch.zeros(0, dtype=torch.int64)


@contextmanager
def _set(target: Any, settings: dict[str, Any]) -> Iterator[None]:
    """Inside this context the target has these attributes."""
    before = {name: getattr(target, name) for name in settings}
    vars(target).update(settings)
    try:
        yield
    finally:
        vars(target).update(before)
