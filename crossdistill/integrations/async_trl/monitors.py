"""What is watched of the samples that a run is trained on: the coverage guard and the watchdog, as synchronously."""

from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from crossdistill.align import Coverage
from crossdistill.distill import Distiller
from crossdistill.integrations.async_trl.sample import ScoredSample
from crossdistill.train.monitor.coverage_guard import CoverageGuard, check_settings
from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.watchdog import Watchdog


class Monitors(TrainerCallback):
    """Sees each sample in the first process, which draws them, and judges in all after each optimization step.

    Args:
        distiller: its vocabularies.
        min_coverage, low_coverage: as in ``CrossTokenizerConfig``.

    Attributes:
        guard: the coverage guard, a callback of its own.
        watchdog: compares the latest samples with the first ones.

    Raises:
        InputError: a setting that has no meaning.
    """

    def __init__(self, distiller: Distiller, min_coverage: float | None, low_coverage: str):
        check_settings(min_coverage, low_coverage)
        vocabs = [pair.teacher for pair in distiller.pairs.values()]
        self.guard = CoverageGuard(distiller.vocab, vocabs, self._coverage_of_all, min_coverage, low_coverage)
        self.watchdog = Watchdog()
        self._coverage, self._sums = Coverage(), RolloutSums()

    def see(self, sample: ScoredSample) -> None:
        """A sample is about to be trained on."""
        self._coverage.add(sample.coverage)
        self._sums.add(sample.sums.values())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            sums, self._sums = self._sums, RolloutSums()
            self.watchdog.add(sums, state.global_step)

    def save(self, checkpoint: Path) -> None:
        """Write what a resumed run needs; in the first process."""
        self.watchdog.save(checkpoint, is_writer=True)

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint."""
        self.watchdog.load(checkpoint)

    def _coverage_of_all(self) -> Coverage:
        """A copy of the run's coverage so far, as the first process knows it."""
        total = Coverage()
        total.add(self._coverage)
        if PartialState().num_processes == 1:
            return total
        told = [total]
        broadcast_object_list(told)
        return told[0]
