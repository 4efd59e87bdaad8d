"""One replica of the engine that samples: sequences that share it, and how long they take."""

from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.scaling.hardware import Gpu, Reached
from benchmarks.scaling.models import Model


@dataclass
class Replica:
    """Sequences under way. Each decode step gives every one of them a token.

    A step reads the weights and every sequence's cache once, and computes 2 N FLOPs for each sequence. Until the next
    sequence ends their number is constant and their contexts grow evenly, so that the time has a closed form.

    Attributes:
        model: the student.
        gpu: all GPUs of the replica as one.
        reached: shares of its datasheet.
        left, contexts, batches: of each sequence: tokens to come, tokens in its cache, number of its step.
        tokens: sampled so far.
    """

    model: Model
    gpu: Gpu
    reached: Reached
    left: np.ndarray = field(default_factory=lambda: np.zeros(0))
    contexts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    batches: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    tokens: float = 0.0

    @property
    def room(self) -> float:
        """Tokens that the cache can still take, if every sequence gets its whole length."""
        cache = self.reached.cache_share * self.gpu.memory - self.model.bytes_served
        return cache / self.model.cache_bytes - float(self.left.sum() + self.contexts.sum())

    def takes(self, prompt: float, length: float) -> bool:
        """Whether another sequence fits. One alone always does."""
        return not len(self.left) or prompt + length <= self.room

    def add(self, prompt: float, length: float, batch: int) -> None:
        self.left = np.append(self.left, length)
        self.contexts = np.append(self.contexts, prompt)
        self.batches = np.append(self.batches, batch)

    def seconds(self, steps: float) -> float:
        """Of so many decode steps, at most those until the next sequence ends."""
        count = len(self.left)
        read = self.model.bytes_served + self.model.cache_bytes * (self.contexts.sum() + count * steps / 2)
        computed = count * 2 * self.model.matmul_parameters
        bound = max(
            read / (self.gpu.bandwidth * self.reached.decode), computed / (self.gpu.flops * self.reached.prefill)
        )
        return steps * (float(bound) + self.reached.decode_step_s)

    def until_next_end(self) -> float:
        """Decode steps until a sequence ends."""
        return float(self.left.min())

    def steps_within(self, seconds: float) -> float:
        """Decode steps that fit into a time, at most those until the next sequence ends."""
        low, high = 0.0, self.until_next_end()
        if self.seconds(high) <= seconds:
            return high
        for _ in range(50):  # the time grows with the steps
            middle = (low + high) / 2
            low, high = (middle, high) if self.seconds(middle) <= seconds else (low, middle)
        return low

    def advance(self, steps: float) -> np.ndarray:
        """Sample, and return the numbers of the steps of the sequences that ended."""
        self.tokens += steps * len(self.left)
        self.left, self.contexts = self.left - steps, self.contexts + steps
        ended = self.left <= 1e-6
        done = self.batches[ended]
        self.left, self.contexts, self.batches = self.left[~ended], self.contexts[~ended], self.batches[~ended]
        return done


def joined(gpu: Gpu, count: int) -> Gpu:
    """Several GPUs of one replica (tensor parallelism) as one, without its losses."""
    return replace(gpu, flops=count * gpu.flops, bandwidth=count * gpu.bandwidth, memory=count * gpu.memory)
