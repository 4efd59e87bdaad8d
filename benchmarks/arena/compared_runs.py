"""The runs of an arena that are compared, read from its cells.jsonl."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from crossdistill.arena.outcome import Outcome
from crossdistill.arena.reaching import steps_of
from crossdistill.errors import InputError


@dataclass(frozen=True)
class ComparedRuns:
    """A method's runs on a pair, one a seed.

    Attributes:
        pair, method: their names.
        outcomes: seed -> that of its run; each is done.
    """

    pair: str
    method: str
    outcomes: dict[int, Outcome]

    def shares(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """float64 [seeds, problems], the share of right samples; by default of all seeds, in ascending order."""
        chosen = sorted(self.outcomes) if seeds is None else seeds
        tests = (self.outcomes[seed].test for seed in chosen)
        return np.array([test.shares for test in tests if test is not None])

    @cached_property
    def accuracy(self) -> float:
        """Mean over seeds and problems."""
        return float(self.shares().mean())

    @property
    def steps(self) -> int:
        """Steps of training."""
        return max(steps_of(outcome) or 0 for outcome in self.outcomes.values())

    @property
    def responses(self) -> float:
        """Trained on, mean over seeds: SFT leaves out the few that the teacher did not end."""
        return float(np.mean([outcome.responses for outcome in self.outcomes.values()]))

    @property
    def flops(self) -> float:
        """Mean over seeds."""
        return float(np.mean([outcome.flops for outcome in self.outcomes.values()]))

    @property
    def problems(self) -> set[str]:
        """Digest of the test problems; several if they differ."""
        return {outcome.test.digest for outcome in self.outcomes.values() if outcome.test is not None}


def read_runs(file: Path, methods: Collection[str] | None = None) -> list[ComparedRuns]:
    """The runs of one arena, by pair and method in the order in which they ended.

    Args:
        file: its ``cells.jsonl``.
        methods: of which runs are read; None for all.

    Raises:
        InputError: it cannot be read, or a run failed or diverged, which leaves its method without a mean.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        outcomes = [Outcome.from_dict(json.loads(line), str(file)) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as cells.jsonl of an arena ({error}): name one.") from None
    found: dict[tuple[str, str], dict[int, Outcome]] = {}
    for outcome in outcomes:
        cell = outcome.cell
        if cell.stage != "test" or cell.seed is None or cell.method not in (methods or (cell.method,)):
            continue
        if outcome.status != "done":
            raise InputError(
                f"{cell.id} in {file} {outcome.status}: run it again with --retry, or leave its method out."
            )
        found.setdefault((cell.pair, cell.method), {})[cell.seed] = outcome
    return [ComparedRuns(pair, method, seeds) for (pair, method), seeds in found.items()]
