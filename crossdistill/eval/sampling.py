"""How a model is sampled in an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """Settings of the samples of a task.

    Attributes:
        k: samples of each problem.
        temperature: 0 is greedy.
        top_p: share of the probability that is sampled from.
        max_tokens: most tokens of a response.
        seed: sample ``i`` of a problem depends on it, on the problem's id and on ``i``.
        template_kwargs: keyword arguments of the chat template, such as ``enable_thinking``.
        system: a system message before each prompt.

    Example:
        >>> Sampling(k=8, temperature=0.6, top_p=0.95, max_tokens=32768).k
        8
    """

    k: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 2048
    seed: int = 0
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
