"""From the worker's queue to packed micro-batches, one row for each process."""

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from crossdistill.errors import InputError, ServerError
from crossdistill.integrations.async_trl.sample import ScoredSample
from crossdistill.integrations.async_trl.worker import RolloutWorker

_POLL_S = 0.2
_ERRORS = (InputError, ServerError)


class PackedSamples(TypedDict):
    """Samples one after the other in one row; T tokens in all.

    input_ids, position_ids: int64 [1, T]; positions begin at 0 in each sample. loss_mask: bool [1, T]. advantages,
    old_logprobs: nats, float32 [1, T]. staleness: int64 [1, T], of each token's sample. weight: float32 scalar, terms
    of the loss in this micro-batch of all processes. num_tokens, mean_length: float32 scalars, of all processes.
    """

    input_ids: Tensor
    position_ids: Tensor
    loss_mask: Tensor
    advantages: Tensor
    old_logprobs: Tensor
    staleness: Tensor
    weight: Tensor
    num_tokens: Tensor
    mean_length: Tensor


def packed(row: Sequence[ScoredSample], everything: Sequence[ScoredSample], version: int) -> PackedSamples:
    """The samples of one process.

    Args:
        row: its samples.
        everything: those of all processes.
        version: of the policy that trains.
    """

    def joined(values: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(values))[None]

    lengths = [len(one) for one in everything]
    return {
        "input_ids": joined([one.input_ids for one in row]),
        "position_ids": joined([np.arange(len(one)) for one in row]),
        "loss_mask": joined([one.loss_mask for one in row]),
        "advantages": joined([one.advantages for one in row]),
        "old_logprobs": joined([one.old_logprobs for one in row]),
        "staleness": joined([np.full(len(one), version - one.version) for one in row]),
        "weight": torch.tensor(float(sum(one.weight for one in everything))),
        "num_tokens": torch.tensor(float(sum(lengths))),
        "mean_length": torch.tensor(sum(lengths) / len(lengths)),
    }


class FreshSamples:
    """The worker's samples in order, each at most `max_staleness` weight updates old when it is drawn.

    Args:
        worker: samples and scores.
        version: gives the version of the policy that trains.
        max_staleness: an older sample is dropped, and counted.
        silence_s: seconds for which sampler and teacher may be silent.
        metrics: name -> values to log; a pair is a sum and what divides it.
        see: gets each sample that is drawn.

    Attributes:
        wait_s: seconds spent waiting for samples since it was last set to 0.
    """

    def __init__(
        self,
        worker: RolloutWorker,
        version: Callable[[], int],
        max_staleness: int,
        silence_s: float,
        metrics: dict[str, list[Any]],
        see: Callable[[ScoredSample], None],
    ):
        self._worker, self._version, self._metrics, self._see = worker, version, metrics, see
        self._max_staleness, self._silence_s = max_staleness, silence_s
        self.wait_s = 0.0

    def __iter__(self) -> Iterator[ScoredSample]:
        while True:
            began = time.monotonic()
            sample = self._next()
            self.wait_s += time.monotonic() - began
            staleness = self._version() - sample.version
            if staleness > self._max_staleness:
                self._metrics["sample/dropped_stale_total"].append(1.0)
                continue
            self._metrics["sample/staleness_mean"].append(float(staleness))
            self._metrics["sample/staleness_max"].append(float(staleness))
            self._metrics["sample/queue_size"].append(float(self._worker.rollout_buffer.qsize()))
            for name, rate in sample.rates.items():
                self._metrics[name].append(rate)
            self._see(sample)
            yield sample

    def _next(self) -> ScoredSample:
        while True:
            try:
                return self._worker.rollout_buffer.get(timeout=_POLL_S)
            except queue.Empty:
                self._worker.check_health(self._silence_s)


class MicroBatches:
    """Micro-batches at the moment in which they are trained on: none is drawn ahead.

    accelerate's own dispatcher draws one micro-batch ahead, which would make it older than it seems.

    Args:
        samples: in order; None on processes other than the first.
        size: samples of a micro-batch, of all processes.
        version: gives the version of the policy that trains.
        see: gets the numbers of the prompts that are drawn.
    """

    def __init__(
        self, samples: FreshSamples | None, size: int, version: Callable[[], int], see: Callable[[list[int]], None]
    ):
        self._samples, self._size, self._version, self._see = samples, size, version, see

    def __iter__(self) -> Iterator[PackedSamples]:
        samples = iter(self._samples) if self._samples is not None else None
        while True:
            yield self._own(None if samples is None else self._drawn(samples))

    def _drawn(self, samples: Iterator[ScoredSample]) -> list[PackedSamples] | Exception:
        """One row for each process, about as long as each other; or why there is none."""
        try:
            drawn = [next(samples) for _ in range(self._size)]
        except Exception as error:  # noqa: BLE001 - the others wait for a row; raised by _own
            return error
        self._see([one.number for one in drawn])
        num_rows = dist.get_world_size() if dist.is_initialized() else 1
        return [packed(row, drawn, self._version()) for row in balanced(drawn, num_rows)]

    def _own(self, drawn: list[PackedSamples] | Exception | None) -> PackedSamples:
        """This process's row; an error is raised on all, so that none waits for the others."""
        if not dist.is_initialized():
            found: Any = drawn if isinstance(drawn, Exception) else drawn and drawn[0]
        else:
            count = dist.get_world_size()
            received: list[Any] = [None]
            rows = [_as_told(drawn)] * count if isinstance(drawn, Exception) else drawn
            dist.scatter_object_list(received, rows, src=0)
            found = drawn if isinstance(drawn, Exception) else received[0]
        if isinstance(found, Exception):
            raise found
        return found


def _as_told(error: Exception) -> Exception:
    """An error as the other processes raise it: any but ours may refuse to be sent."""
    return error if isinstance(error, _ERRORS) else RuntimeError(f"{type(error).__name__}: {error}")


def balanced(samples: Sequence[ScoredSample], num_rows: int) -> list[list[ScoredSample]]:
    """Samples shared among rows, so that the sums of squared lengths, which attention costs, are about the same.

    Every row gets one at least, if there are as many.

    Example:
        >>> import numpy as np
        >>> sizes = [3, 1, 2, 2]
        >>> made = [ScoredSample(0, 0, np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), 0.0) for n in sizes]
        >>> [[len(one) for one in row] for row in balanced(made, 2)]
        [[3], [2, 2, 1]]
    """
    rows: list[list[ScoredSample]] = [[] for _ in range(num_rows)]
    loads = [0] * num_rows
    for sample in sorted(samples, key=len, reverse=True):
        row = min(range(num_rows), key=loads.__getitem__)
        rows[row].append(sample)
        loads[row] += len(sample) ** 2
    return rows
