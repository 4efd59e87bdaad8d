"""What a run asks for: the paper's settings, and lengths of responses."""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from benchmarks.scaling.models import LLAMA_8B, QWEN3_8B, Model


@dataclass(frozen=True)
class Workload:
    """A run.

    Attributes:
        samples: in all. The paper's best checkpoint had 20,000 (section 5.3).
        batch: prompts a step, one response each (appendix A).
        prompt_tokens: mean, an assumption; the paper's limit is 1,024.
        response_tokens: mean, which the paper does not give.
        longest: limit of a response (appendix A).
        spread: standard deviation of the log of a length, an assumption: at 0.6 the longest of 128 is about four times
            the mean.
        tokens_per_token: the teacher's tokens for each of the student's; between 0.9 and 1.1 for the pairs in
            docs/tokenizers.md.
    """

    student: Model = LLAMA_8B
    teacher: Model = QWEN3_8B
    samples: int = 20_000
    batch: int = 128
    prompt_tokens: int = 256
    response_tokens: int = 8_192
    longest: int = 16_384
    spread: float = 0.6
    tokens_per_token: float = 1.0

    @property
    def steps(self) -> int:
        return math.ceil(self.samples / self.batch)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of the responses of a step, longest first: quantiles of a log-normal, cut at the limit.

        Scaled so that their mean after the cut is `response_tokens`, as far as the limit allows.
        """
        ranks = (np.arange(self.batch) + 0.5) / self.batch
        shape = np.exp(self.spread * np.array([NormalDist().inv_cdf(rank) for rank in ranks]))
        low, high = 0.0, 64.0 * self.response_tokens
        for _ in range(80):  # the mean of the cut lengths grows with the scale
            middle = (low + high) / 2
            mean = np.minimum(middle * shape, self.longest).mean()
            low, high = (middle, high) if mean < self.response_tokens else (low, middle)
        return np.minimum(high * shape, self.longest)[::-1]

    @property
    def tokens(self) -> float:
        """Of prompts and responses in a step, in the student's tokens."""
        return float(self.lengths.sum() + self.batch * self.prompt_tokens)
