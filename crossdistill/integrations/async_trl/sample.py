"""A scored sample on its way from the worker to the trainer."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crossdistill.align import Coverage
from crossdistill.distill import ScoredBatch, ScoredResponse
from crossdistill.train.monitor.histories import HistoryCounts
from crossdistill.train.monitor.rollout_sums import RolloutSums

Rate = tuple[float, float]
"""A sum, and what it is divided by once all are added up."""


@dataclass(frozen=True)
class ScoredSample:
    """One prompt and its response in the student's tokens, T in all, with what the loss needs of each.

    Attributes:
        number: of the prompt in the run, over all epochs.
        version: the policy that sampled it; the oldest one if weights arrived while it was sampled.
        input_ids: int64 [T].
        loss_mask: bool [T], the supervised tokens.
        advantages: nats, float32 [T], 0 where `loss_mask` is False.
        old_logprobs: nats, float32 [T], under the policy that sampled; 0 in the prompt.
        weight: its number of terms in the loss.
        rates: metrics of the response.
        coverage: what became of each of its tokens.
        sums: of the response, for the watchdog.
    """

    number: int
    version: int
    input_ids: np.ndarray
    loss_mask: np.ndarray
    advantages: np.ndarray
    old_logprobs: np.ndarray
    weight: float
    rates: dict[str, Rate] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    sums: RolloutSums = field(default_factory=RolloutSums)

    def __len__(self) -> int:
        return len(self.input_ids)


def samples_of(batch: ScoredBatch, first_number: int, version: int) -> Iterator[ScoredSample]:
    """The rows of a scored batch, one turn each.

    Args:
        batch: scored.
        first_number: number of its first prompt in the run.
        version: of the policy that sampled.
    """
    rollout = batch.rollout
    for row, (prompt, ids) in enumerate(zip(rollout.prompt_ids, rollout.completion_ids, strict=True)):
        before, size = len(prompt), len(ids)
        own = batch.row(row)
        (response,) = own.responses

        def whole(values: np.ndarray, before: int = before, size: int = size) -> np.ndarray:
            return np.concatenate([np.zeros(before, dtype=values.dtype), values[:size]])

        yield ScoredSample(
            first_number + row,
            version,
            np.array([*prompt, *ids], dtype=np.int64),
            whole(batch.loss_mask[row].numpy()),
            whole(batch.advantages[row].numpy()),
            whole(batch.old_logprobs[row].numpy()),
            response.weight,
            rates_of(response),
            response.coverage,
            RolloutSums.of(own.rollout, own.responses, response.coverage, HistoryCounts()),
        )


def rates_of(response: ScoredResponse) -> dict[str, Rate]:
    """Metrics of a response as the synchronous trainer names them: sums, and what divides them.

    ``dropped/REASON`` is the share of the sampled tokens that have no signal for that reason.
    """
    coverage = response.coverage
    tokens, size = float(coverage.sampled.tokens), float(coverage.sampled.bytes)
    rates = {
        "teacher_gap": (response.gap_nats, float(response.gap_bytes)),
        "coverage": (float(coverage.supervised.bytes), size),
        "token_coverage": (float(coverage.supervised.tokens), tokens),
        "stopped": (float(response.response.stop_position is not None), 1.0),
        "response_tokens": (float(len(response.response.ids)), 1.0),
    }
    return rates | {f"dropped/{reason}": (float(count.tokens), tokens) for reason, count in coverage.dropped.items()}
