"""The order of the prompts, which a resumed run must find again."""

from collections.abc import Callable, Iterator
from typing import Any

from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler, shuffled by the seed and the number of the epoch alone.

    TRL's own goes on from the state in which the last epoch left its generator, which no checkpoint holds: a run that
    is resumed after the first epoch would see the first epoch's order again.

    Args:
        epoch: asked for the number of the epoch that begins.
    """

    def __init__(self, epoch: Callable[[], int], **kwargs: Any):
        super().__init__(**kwargs)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + self._epoch())
        return super().__iter__()
