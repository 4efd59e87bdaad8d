"""Simulated runs: what a student samples step by step, as sums of rollouts, with the noise of real ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.watchdog import Watchdog

BUDGET = 512
BYTES_A_TOKEN = 4.0


@dataclass(frozen=True)
class Student:
    """Means over prompts. length: tokens, were there no budget. gaps: nats per byte. entropy: nats per token."""

    length: float = 120.0
    digits: float = 0.03
    white_space: float = 0.17
    entropy: float = 0.8
    gap: float = 0.15
    digit_gap: float = 0.2
    ends: float = 1.0

    def rollout(self, rng: np.random.Generator, responses: int) -> RolloutSums:
        """Prompts differ: one in three is about numbers, lengths and all else spread log-normally."""
        wanted = self.length * _spread(rng, responses, 0.7)
        stops = (wanted <= BUDGET) & (rng.random(responses) < self.ends)
        tokens = np.ceil(np.where(stops, wanted, BUDGET))
        size = np.round(tokens * BYTES_A_TOKEN * _spread(rng, responses, 0.1))
        about_numbers = rng.random(responses) < 1 / 3
        share = np.clip(self.digits * np.where(about_numbers, 2.6, 0.2) * _spread(rng, responses, 0.5), 0, 0.9)
        digits = rng.binomial(size.astype(int), share)
        spaces = rng.binomial(size.astype(int) - digits, np.clip(self.white_space * _spread(rng, responses, 0.2), 0, 1))
        digit_nats = (self.digit_gap + 0.5 * rng.standard_normal(responses)) * digits
        rest_nats = (self.gap + 0.1 * rng.standard_normal(responses)) * (size - digits)
        return RolloutSums(
            responses=responses,
            stopped=float(stops.sum()),
            sampled_tokens=float(tokens.sum()),
            sampled_nats=float((tokens * self.entropy * _spread(rng, responses, 0.4)).sum()),
            sampled_bytes=float(size.sum()),
            gap_nats=float((digit_nats + rest_nats).sum()),
            gap_bytes=float(size.sum()),
            digit_bytes=float(digits.sum()),
            white_space_bytes=float(spaces.sum()),
            digit_gap_nats=float(digit_nats.sum()),
            digit_gap_bytes=float(digits.sum()),
        )


def _spread(rng: np.random.Generator, number: int, sigma: float) -> np.ndarray:
    return np.exp(sigma * rng.standard_normal(number) - sigma * sigma / 2)


def watched(
    change: Callable[[float], dict[str, Any]] = lambda progress: {},
    *,
    student: Student = Student(),
    steps: int = 120,
    responses: int = 16,
    seed: int = 0,
) -> Watchdog:
    """The watch-dog of a run in which the student becomes `change(progress)`, progress going from 0 to 1."""
    rng, dog = np.random.default_rng(seed), Watchdog(is_main_process=False)
    for step in range(steps):
        dog.add(replace(student, **change(step / max(1, steps - 1))).rollout(rng, responses), step)
    return dog


def kinds(dog: Watchdog) -> list[str]:
    return [warning.kind for warning in dog.warnings]
