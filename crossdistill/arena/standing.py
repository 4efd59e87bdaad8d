"""How far a method is on a pair: its runs at each rate and with each seed, done, failed or missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.outcome import Answers, Outcome
from crossdistill.arena.plan import lacking_of, rate_of, tuned_rates

RowStatus = Literal["done", "partial", "not run", "failed", "diverged"]
"""All seeds are done; some are, others missing; none is; a run failed; its weights became NaN or infinite."""


@dataclass(frozen=True)
class Standing:
    """How far a method or control is on a pair.

    Attributes:
        pair: its name.
        method: likewise; that of a control is in CONTROLS.
        kind: which of the two it is.
        lacking: why it is not run at all, such as a control without its examples, or a method that the file leaves out
            here; None if it is.
        tuning: rate -> outcome of its tuning run; None if that is missing.
        rate: at which it is compared; None if it is not chosen yet, or cannot be.
        runs: seed -> outcome of the compared run; None if that is missing.
    """

    pair: str
    method: str
    kind: Literal["method", "control"]
    lacking: str | None
    tuning: Mapping[float, Outcome | None]
    rate: float | None
    runs: Mapping[int, Outcome | None]

    @cached_property
    def answers(self) -> dict[int, Answers]:
        """Seed -> test answers, of the runs that are done."""
        return {
            seed: outcome.test
            for seed, outcome in self.runs.items()
            if outcome is not None and outcome.status == "done" and outcome.test is not None
        }

    @cached_property
    def done(self) -> list[Outcome]:
        """Outcomes of the runs that are done, by the order of the seeds."""
        return [outcome for seed, outcome in self.runs.items() if outcome is not None and seed in self.answers]

    @cached_property
    def shares(self) -> np.ndarray:
        """float64 [seeds that are done, problems], the share of right samples."""
        return np.array([answers.shares for answers in self.answers.values()])

    @property
    def accuracies(self) -> list[float]:
        """Of each seed that is done."""
        return [answers.mean for answers in self.answers.values()]

    @property
    def status(self) -> RowStatus:
        """How far it is; a run that failed or diverged outweighs a missing one."""
        broken = self._broken(self.runs if self.rate is not None else self.tuning)
        if broken and (self.rate is not None or not self._untuned):
            return "failed" if "failed" in broken.values() else "diverged"
        if not self.answers:
            return "not run"
        return "done" if len(self.answers) == len(self.runs) else "partial"

    @property
    def reason(self) -> str | None:
        """Why it is not done; None if it is."""
        if self.lacking is not None:
            return self.lacking
        if self.rate is None:
            return self._why_no_rate()
        said = [f"seed {seed} {why}" for seed, why in self._told(self.runs).items()]
        missing = [seed for seed, outcome in self.runs.items() if outcome is None]
        if missing:
            some = f"missing of {len(self.runs)} seeds: {', '.join(map(str, missing))}"
            said.append("no seed has been run" if len(missing) == len(self.runs) else some)
        return "; ".join(said) or None

    @property
    def _untuned(self) -> list[float]:
        return [rate for rate, outcome in self.tuning.items() if outcome is None]

    def _why_no_rate(self) -> str:
        said = [f"rate {rate:g} {why}" for rate, why in self._told(self.tuning).items()]
        if self._untuned:
            rates = ", ".join(f"{rate:g}" for rate in self._untuned)
            said.append(f"no rate is chosen yet: the tuning runs at {rates} are missing")
        return "; ".join(said)

    @staticmethod
    def _broken(runs: Mapping[float, Outcome | None] | Mapping[int, Outcome | None]) -> dict[float, str]:
        return {key: run.status for key, run in runs.items() if run is not None and run.status != "done"}

    @classmethod
    def _told(cls, runs: Mapping[float, Outcome | None] | Mapping[int, Outcome | None]) -> dict[float, str]:
        return {
            key: f"{run.status} ({run.reason})" if run.reason else run.status
            for key, run in runs.items()
            if run is not None and run.status != "done"
        }


def standings_of(arena: ArenaFile, pair: str, outcomes: Mapping[Cell, Outcome]) -> list[Standing]:
    """The standings of all methods on a pair, and then of its controls, in the file's order.

    Args:
        arena: the file.
        pair: name of one of its pairs.
        outcomes: of the cells that are finished; others may be among them.
    """
    methods: list[tuple[str, Literal["method", "control"]]] = [
        *((name, "method") for name in arena.methods),
        *((name, "control") for name in arena.controls),
    ]
    return [_standing(arena, pair, method, kind, outcomes) for method, kind in methods]


def _standing(
    arena: ArenaFile, pair: str, method: str, kind: Literal["method", "control"], outcomes: Mapping[Cell, Outcome]
) -> Standing:
    lacking = lacking_of(arena, pair, method)
    found = outcomes if lacking is None else {}
    tuning = {rate: found.get(Cell(pair, method, "tune", rate, arena.tuning_seed)) for rate in tuned_rates(arena)}
    rate = None if lacking else rate_of(arena, pair, method, outcomes)
    runs = {seed: None if rate is None else found.get(Cell(pair, method, "test", rate, seed)) for seed in arena.seeds}
    return Standing(pair, method, kind, lacking, tuning, rate, runs)
