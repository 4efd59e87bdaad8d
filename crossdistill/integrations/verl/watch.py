"""The figures of a run inside of verl: metrics for its log, the watchdog, and the coverage guard."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from crossdistill.align import Coverage
from crossdistill.integrations.verl.options import VerlOptions
from crossdistill.integrations.verl.record import Record, raise_first
from crossdistill.tokens import ByteVocab
from crossdistill.train.monitor.coverage_guard import CoverageGuard, LowCoverageError
from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.watchdog import Watchdog

PREFIX = "crossdistill/"


class Watch:
    """Sees every batch of responses, in the process that logs.

    Args:
        options: of the run.
        student: its vocabulary.
        teachers: theirs.
        emit: receives warnings.

    Attributes:
        watchdog: compares the latest responses with the first ones.
    """

    def __init__(
        self, options: VerlOptions, student: ByteVocab, teachers: Sequence[ByteVocab], emit: Callable[[str], None]
    ):
        self.watchdog = Watchdog(emit=emit)
        self._coverage = Coverage()
        settings = options.min_coverage, options.low_coverage
        self._guard = CoverageGuard(student, teachers, self._copy, *settings, emit=emit)
        self._guard.on_train_begin(None, None, None)

    def see(self, records: Sequence[Record], step: int) -> dict[str, float]:
        """A batch of training responses.

        Args:
            records: one for each response.
            step: optimisation steps made before.

        Returns:
            Metrics for verl's log.

        Raises:
            InputError, TeacherError: a response could not be sampled or scored.
            LowCoverageError: the teacher supervises less than it must, or nothing at all of this batch.
        """
        raise_first(records)
        sums, coverage = RolloutSums(), Coverage()
        for record in records:
            sums.add(record.sums)
            coverage.add(record.coverage())
        self._coverage.add(coverage)
        self.watchdog.add(sums, step)
        if records and not coverage.supervised.tokens:
            raise LowCoverageError(_NOTHING.format(step=step, reasons=_in_words(coverage)))
        self._check(step)
        return {PREFIX + name: value for name, value in self._metrics(sums, coverage).items()}

    def save(self, checkpoint: Path) -> None:
        """Write what a resumed run needs."""
        self.watchdog.save(checkpoint, is_writer=True)

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint."""
        self.watchdog.load(checkpoint)

    def _check(self, step: int) -> None:
        control = SimpleNamespace()
        self._guard.on_step_end(None, SimpleNamespace(global_step=step, is_world_process_zero=True), control)
        self._guard.check()

    def _metrics(self, sums: RolloutSums, coverage: Coverage) -> dict[str, float]:
        """Those of ``RolloutSums.metrics``, dropped tokens by reason, and the watchdog's warnings so far."""
        dropped = {f"dropped/{reason}": float(count.tokens) for reason, count in coverage.dropped.items()}
        warnings = {f"warning/{warning.kind}": 1.0 for warning in self.watchdog.warnings}
        return {**sums.metrics(), **dropped, **warnings, "warnings": float(len(self.watchdog.warnings))}

    def _copy(self) -> Coverage:
        copy = Coverage()
        copy.add(self._coverage)
        return copy


_NOTHING = (
    "the teacher supervises no token of the batch after step {step} ({reasons}), so verl's loss would be 0 / 0: see "
    "`crossdistill inspect` for the pair, and the teacher's log."
)


def _in_words(coverage: Coverage) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count.tokens}" for reason, count in coverage.dropped.items())
